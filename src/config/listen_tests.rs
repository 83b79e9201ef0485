//! Where to listen: the order of the names that say so, and the grammar of OLLAMA_HOST.

use super::*;

#[test]
fn the_port_has_an_order_of_its_own() {
    // The names in order of strength, each with the port it brings.
    let ladder: [(&str, &str, u16); 5] = [
        ("--port", "1", 1),
        ("--host", "10.0.0.1:2", 2),
        ("PROXY_PORT", "3", 3),
        ("OLLAMA_HOST", "10.0.0.2:4", 4),
        ("PORT", "5", 5),
    ];
    for from in 0..ladder.len() {
        let (flags, env): (Vec<_>, Vec<_>) =
            ladder[from..].iter().partition(|(name, ..)| name.starts_with('-'));
        let args: Vec<_> = flags.iter().flat_map(|(name, value, _)| [*name, *value]).collect();
        let env: Vec<_> = env.iter().map(|(name, value, _)| (*name, *value)).collect();
        assert_eq!(with(&args, &env).config().listen.port, ladder[from].2, "{args:?} {env:?}");
    }
    let port = |args: Args, env: Env| with(args, env).config().listen.to_string();
    assert_eq!(port(&["--host", "h"], &[("OLLAMA_HOST", "o:4"), ("HOST", "x")]), "h:4");
    assert_eq!(port(&[], &[("OLLAMA_HOST", "o"), ("HOST", "x"), ("PORT", "9")]), "o:9");
    assert_eq!(port(&[], &[("HOST", "x"), ("PORT", "9")]), "x:9");
    assert_eq!(
        port(&[], &[("OLLAMA_HOST", "http://o"), ("PORT", "9")]),
        "o:80",
        "the scheme's port is a port"
    );
    assert_eq!(
        port(&[], &[("OLLAMA_HOST", "0.0.0.0:11434"), ("PROXY_PORT", "8000")]),
        "0.0.0.0:8000",
        "the image"
    );
}

#[test]
fn the_grammar_of_ollama_host() {
    let good = [
        ("1.2.3.4", "1.2.3.4:11434"),
        ("example.com", "example.com:11434"),
        ("ollama.com", "ollama.com:11434"),
        ("1.2.3.4:5", "1.2.3.4:5"),
        (":5000", "0.0.0.0:5000"),
        ("0.0.0.0:0", "0.0.0.0:0"),
        ("h:65535", "h:65535"),
        ("http://h", "h:80"),
        ("https://h", "h:443"),
        ("http://h:1", "h:1"),
        ("http://", "127.0.0.1:80"),
        ("http://:8080", "0.0.0.0:8080"),
        ("[::1]", "[::1]:11434"),
        ("::1", "[::1]:11434"),
        ("[0:0:0:0:0:0:0:1]:7", "[::1]:7"),
        ("https://[::]", "[::]:443"),
        ("h:1/path", "h:1"),
        ("http://h/path/", "h:80"),
        ("\"h:1\"", "h:1"),
        (" 'h:1' ", "h:1"),
        ("my_box.local", "my_box.local:11434"),
    ];
    for (value, expected) in good {
        assert_eq!(with(&[], &[("OLLAMA_HOST", value)]).config().listen.to_string(), expected, "{value}");
        assert_eq!(with(&["--host", value], &[]).config().listen.to_string(), expected, "{value}");
    }
    let bad = [
        "h:", "h:abc", "h:70000", "h:-1", "h:+1", "h:1:2", "[::1", "[::1]7", "[h]", "a b", "ftp://h",
        "[::1]:", "h:1 2", "u@h",
    ];
    for value in bad {
        let faults = with(&[], &[("OLLAMA_HOST", value)]).faults();
        assert_eq!(faults.len(), 1, "{value}: {faults:?}");
        assert!(faults[0].starts_with("OLLAMA_HOST = "), "{faults:?}");
    }
    let faults = with(&[], &[("HOST", "1.2.3.4:80")]).faults();
    assert!(faults[0].starts_with("HOST = ") && faults[0].contains("without a port"), "{faults:?}");
}
