//! The key, the URL and the model map: what comes from files, what is sent, and what must never be shown.

use super::*;

#[test]
fn a_key_is_never_shown() {
    const KEY: &str = "sk-CANARY-0123456789";
    let bad = "sk-CANARY 0123456789";
    let file = &[("sk-CANARY-path", KEY), ("two", bad), ("fine", KEY)];
    let world = World { args: &[], env: &[("OPENAI_API_KEY", KEY)], files: file };
    let config = world.config();
    assert_eq!(config.backend.key.as_ref().unwrap().expose(), KEY);
    assert_eq!(
        format!("{} {:?}", config.backend.key.as_ref().unwrap(), config.backend.key),
        "<hidden> Some(<hidden>)"
    );
    assert!(!format!("{config:?}").contains("CANARY"));

    let url = "http://user:sk-CANARY-1@host:x/v1?api-key=sk-CANARY-2";
    let faulty: &[(Args, Env)] = &[
        (&[], &[("OPENAI_API_KEY", bad)]),
        (&[], &[("OPENAI_API_KEY", KEY), ("OPENAI_API_KEY_FILE", "two")]),
        (&[], &[("OPENAI_API_KEY_FILE", "sk-CANARY-absent")]),
        (&[], &[("PROXY_API_KEY", bad)]),
        (&[], &[("PROXY_API_KEY", KEY), ("PROXY_API_KEY_FILE", "two")]),
        (&["--proxy-api-key-file", "sk-CANARY-absent"], &[]),
        (&["--api-key-file", "sk-CANARY-absent"], &[]),
        (&["--api-key", KEY], &[]),
        (&["--api-key", KEY, "--port=x"], &[]),
        (&[&format!("--api-key={KEY}")], &[]),
        (&["--apikey", KEY], &[]),
        (&[&format!("--token={KEY}")], &[]),
        (&["-k", KEY], &[]),
        (&[&format!("-k{KEY}")], &[]),
        (&[KEY], &[]),
        (&["serve", KEY], &[]),
        (&[], &[("OPENAI_BASE_URL", url)]),
        (&["--base-url", url], &[]),
        (&["--base-url", "http://sk-CANARY@host"], &[]),
    ];
    for (args, env) in faulty {
        let errors = World { args, env, files: file }.parse().unwrap_err();
        assert!(!format!("{errors} {errors:?}").contains("CANARY"), "{args:?} {env:?}: {errors}");
    }
    let base = with(&[], &[("OPENAI_BASE_URL", "http://h/v1?api-key=sk-CANARY")]).config().backend.base;
    assert_eq!(format!("{base} {base:?}"), "http://h/v1?... BaseUrl(http://h/v1?...)");
    assert!(base.join("/models").to_string().contains("CANARY"), "but it is sent");
}

#[test]
fn the_flag_for_a_key_says_where_keys_go() {
    let faults = with(&["--api-key", "sk-1", "--log-format", "xml"], &[]).faults();
    assert_eq!(faults.len(), 2, "its value is no command: {faults:?}");
    for word in ["OPENAI_API_KEY", "OPENAI_API_KEY_FILE", "visible to every user"] {
        assert!(faults[0].contains(word), "{faults:?}");
    }
}

#[test]
fn a_key_for_clients_closes_the_open_door_and_is_not_asked_for_by_the_demo() {
    let open = ("OLLAMA_HOST", "0.0.0.0");
    let warnings = |env: Env| with(&[], env).config().warnings.join(" ");
    assert!(warnings(&[open]).contains("other machines, and clients need no key: set PROXY_API_KEY"));
    assert!(!warnings(&[open, ("PROXY_API_KEY", "pk-1")]).contains("other machines"));
    let key = |args: Args| with(args, &[("PROXY_API_KEY", "pk-1")]).config().proxy_key;
    assert_eq!(key(&[]).unwrap().expose(), "pk-1");
    assert_eq!(key(&["demo"]), None);
    let files = &[("a", "pk-a"), ("b", "pk-b")];
    let env = &[("PROXY_API_KEY", "pk-a"), ("PROXY_API_KEY_FILE", "b")];
    let faults = World { args: &[], env, files }.faults();
    assert_eq!(faults.len(), 1);
    assert!(
        faults[0].starts_with("PROXY_API_KEY = <hidden>: expected the same key as in PROXY_API_KEY_FILE"),
        "{faults:?}"
    );
}

#[test]
fn the_key_may_come_from_a_file() {
    let files = &[("a", "\u{feff}sk-a\r\n"), ("b", "sk-b")];
    let key = |env: Env| World { args: &[], env, files }.config().backend.key.unwrap().expose().to_owned();
    assert_eq!(key(&[("OPENAI_API_KEY_FILE", "a")]), "sk-a");
    assert_eq!(key(&[("OPENAI_API_KEY_FILE", "a"), ("OPENAI_API_KEY", " sk-a\n")]), "sk-a", "the same twice");
    let env = &[("OPENAI_API_KEY_FILE", "b"), ("OPENAI_API_KEY", "sk-a")];
    let faults = World { args: &[], env, files }.faults();
    assert_eq!(faults.len(), 1);
    assert!(
        faults[0].contains("OPENAI_API_KEY = <hidden>") && faults[0].contains("OPENAI_API_KEY_FILE"),
        "{faults:?}"
    );
}

#[test]
fn base_urls_and_the_endpoints_under_them() {
    let rows = [
        ("https://api.openai.com/v1", "https://api.openai.com/v1/chat/completions"),
        ("http://localhost:8000", "http://localhost:8000/v1/chat/completions"),
        ("http://localhost:8000/", "http://localhost:8000/v1/chat/completions"),
        ("http://h/v1/", "http://h/v1/chat/completions"),
        ("http://h/v1//", "http://h/v1/chat/completions"),
        ("HTTP://h/api/v3", "http://h/api/v3/chat/completions"),
        ("http://[::1]:8000/v1", "http://[::1]:8000/v1/chat/completions"),
        ("\"http://h/v1\"", "http://h/v1/chat/completions"),
        ("http://h?", "http://h/v1/chat/completions"),
        ("https://h/openai/d/gpt?api-version=1", "https://h/openai/d/gpt/chat/completions?api-version=1"),
        ("https://h/?api-version=1", "https://h/v1/chat/completions?api-version=1"),
        ("https://g/v1beta/openai/", "https://g/v1beta/openai/chat/completions"),
    ];
    for (value, expected) in rows {
        let base = with(&[], &[("OPENAI_BASE_URL", value)]).config().backend.base;
        assert_eq!(base.join("/chat/completions").to_string(), expected, "{value}");
        assert_eq!(base.join("chat/completions").to_string(), expected, "{value}");
    }
    let base = with(&[], &[("OPENAI_BASE_URL", "http://h/v1?a=1")]).config().backend.base;
    assert_eq!(base.join("/models?limit=2").to_string(), "http://h/v1/models?a=1&limit=2");
    assert_eq!(base.join("/models/org/name").to_string(), "http://h/v1/models/org/name?a=1");
    assert_eq!(
        base.join("//evil.example/x").to_string(),
        "http://h/v1//evil.example/x?a=1",
        "the origin stays"
    );
    assert_eq!(base.join("@evil.example/").host(), Some("h"));
    assert_eq!(base.join("/a b\r\nc").to_string(), "http://h/v1?a=1", "no path: the base");
    let plain = with(&[], &[("OPENAI_BASE_URL", "http://h")]).config().backend.base;
    assert_eq!(plain.join("/models?limit=2").to_string(), "http://h/v1/models?limit=2");
    for (base, beside) in [
        ("http://h:1", "http://h:1/props"),
        ("https://h/proxy/v1?k=v", "https://h/proxy/props?k=v"),
        ("http://h/openai", "http://h/openai/props"),
    ] {
        assert_eq!(BaseUrl::new(base).unwrap().join_beside("/props").to_string(), beside);
    }
}

#[test]
fn both_shapes_of_the_model_map() {
    let read = |text: &str| {
        let files = &[("map", text)];
        World { args: &["--model-map", "map"], env: &[], files }.config()
    };
    let config = read(r#"{"_note": 1, "z": "gpt-4o", "a": " o3 ", "z": "gpt-5"}"#);
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(
        config.models.aliases,
        [pair("a", "o3"), pair("z", "gpt-5")],
        "the last of two equal keys counts"
    );
    assert_eq!(config.models.default_model, None);

    let config = read(
        "\u{feff}{\"model_mappings\": {\"llama3:8b\": \"gpt-4o\", \"_\": []}, \"_c\": 1, \"default_model\": \"o3\"}",
    );
    assert_eq!(config.models.aliases, [pair("llama3:8b", "gpt-4o")]);
    assert_eq!(config.models.default_model.as_deref(), Some("o3"));
    assert!(read(r#"{"model_mappings": {}, "default_model": null}"#).models.aliases.is_empty());
    assert_eq!(read(r#"{"default_model": "m"}"#).models.default_model.as_deref(), Some("m"));
    assert_eq!(
        read(r#"{"model_mappings": "m"}"#).models.aliases,
        [pair("model_mappings", "m")],
        "an alias as others"
    );
    let config = read(r#"{"model_mappings": {}, "comment": "x"}"#);
    assert!(config.models.aliases.is_empty());
    assert!(config.warnings.iter().any(|text| text.contains("\"comment\"")), "{:?}", config.warnings);
    // Many keys keep their order.
    let many: Vec<_> = (0..200).map(|n| format!("\"m{n}\":\"t{n}\"")).collect();
    let aliases = read(&format!("{{{}}}", many.join(","))).models.aliases;
    assert!(aliases.iter().enumerate().all(|(n, (alias, _))| *alias == format!("m{n}")));
}

#[test]
fn facts_by_glob_stand_beside_either_shape() {
    let facts = r#""models": {"_": 1, "gpt-4o*": {"capabilities": ["Vision", "tools"], "context_length": 131072, "_why": "x"},
        "bge-*": {"capabilities": ["embedding"], "embedding_length": 1024, "family": "bert", "parameter_size": "335M",
        "quantization_level": "F16", "colour": "red"}}"#;
    for text in [
        format!(r#"{{"llama3": "gpt-4o", {facts}}}"#),
        format!(r#"{{"model_mappings": {{"llama3": "gpt-4o"}}, {facts}}}"#),
    ] {
        let files = &[("map", text.as_str())];
        let config =
            World { args: &["--model-map=map"], env: &[("CAPABILITIES", "gpt-4o*=tools")], files }.config();
        let models = &config.models;
        assert_eq!(models.aliases.len(), 1, "{text}");
        let [gpt, bge] = &models.map_overrides[..] else { panic!("{models:?}") };
        assert_eq!((&*gpt.glob, gpt.context_length), ("gpt-4o*", Some(131_072)));
        assert_eq!(gpt.capabilities.as_ref().unwrap(), &["vision", "tools"]);
        assert_eq!((bge.embedding_length, bge.family.as_deref()), (Some(1024), Some("bert")));
        assert_eq!(
            (bge.parameter_size.as_deref(), bge.quantization_level.as_deref()),
            (Some("335M"), Some("F16"))
        );
        assert_eq!(models.overrides.len(), 1, "what the settings say is kept apart");
        assert!(
            config.warnings.iter().any(|text| text.contains("models.bge-*.colour")),
            "{:?}",
            config.warnings
        );
    }
}

#[test]
fn a_model_map_is_read_again_whole_or_not_at_all() {
    let files = &[("map", r#"{"a": "b", "default_model": "c"}"#)];
    let env = &[("MODEL_MAPPING_FILE", "map"), ("MODELS", "extra"), ("CAPABILITIES", "tools")];
    let models = World { args: &[], env, files }.config().models;
    let again = |text: &'static str| {
        let read = move |path: &Path| {
            assert_eq!(path, Path::new("map"));
            Ok(text.as_bytes().to_vec())
        };
        models.with_map_read_again(read)
    };
    let (new, warnings) =
        again(r#"{"model_mappings": {"x": "y"}, "models": {"x": {"family": "f"}}, "huh": 1}"#).unwrap();
    assert_eq!(new.aliases, [("x".to_owned(), "y".to_owned())]);
    assert_eq!((new.default_model, new.map_overrides.len()), (None, 1));
    assert_eq!((new.extra, new.overrides), (models.extra.clone(), models.overrides.clone()), "not the map's");
    assert_eq!(warnings, ["MODEL_MAPPING_FILE: the key \"huh\" means nothing"]);
    for (text, fault) in [
        ("{", "expected valid json"),
        (" ", "expected a file with something in it"),
        (r#"{"a": 1}"#, "expected a model name under \"a\""),
    ] {
        let faults = again(text).unwrap_err().to_string();
        assert!(faults.starts_with("MODEL_MAPPING_FILE = \"map\": ") && faults.contains(fault), "{faults}");
    }
    let gone = models.with_map_read_again(|_| Err(io::ErrorKind::NotFound.into())).unwrap_err().to_string();
    assert!(gone.contains("expected a readable file"), "{gone}");
}

#[test]
fn a_wrong_model_map_is_refused_by_key() {
    let faults = |text: &str| {
        let files = &[("map", text)];
        World { args: &[], env: &[("MODEL_MAPPING_FILE", "map")], files }.faults()
    };
    let two = faults(r#"{"a": 1, "b": "ok", "c": {"d": "e"}}"#);
    assert_eq!(two.len(), 2);
    assert_eq!(two[0], r#"MODEL_MAPPING_FILE = "map": expected a model name under "a""#);
    assert!(two[1].ends_with("under \"c\""));
    assert!(faults(r#"{"model_mappings": {"x": null}}"#)[0].ends_with("under \"x\""));
    assert!(faults(r#"{"model_mappings": {}, "default_model": 3}"#)[0].ends_with("under \"default_model\""));
    assert!(faults(r#"{"": "x"}"#)[0].ends_with("under \"\""));
    assert!(faults(r#"{"x": " "}"#)[0].ends_with("under \"x\""));
    let many = |count: usize| {
        let aliases: Vec<String> = (0..count).map(|n| format!(r#""a{n}": "m""#)).collect();
        format!("{{{}}}", aliases.join(","))
    };
    let (most, more) = (many(2000), many(2010));
    let env = &[("MODEL_MAPPING_FILE", "map")];
    assert_eq!(World { args: &[], env, files: &[("map", &most)] }.config().models.aliases.len(), 2000);
    let too_many = faults(&more);
    assert!(too_many.len() == 1 && too_many[0].ends_with("no more than 2000 model names"), "{too_many:?}");
    for (facts, named) in [
        (r#"[]"#, "an object of facts by glob under \"models\""),
        (r#"{"m": 5}"#, "under \"models\", \"m\""),
        (r#"{" ": {}}"#, "under \"models\", \" \""),
        (r#"{"m": {"capabilities": "tools"}}"#, "under \"models\", \"m\", \"capabilities\""),
        (r#"{"m": {"capabilities": ["flying"]}}"#, "insert, vision, embedding"),
        (
            r#"{"m": {"context_length": 0}}"#,
            "a whole number from 1 up under \"models\", \"m\", \"context_length\"",
        ),
        (r#"{"m": {"context_length": "4k"}}"#, "context_length"),
        (r#"{"m": {"family": 7}}"#, "a text under \"models\", \"m\", \"family\""),
    ] {
        let found = faults(&format!(r#"{{"models": {facts}}}"#));
        assert!(found.len() == 1 && found[0].contains(named), "{facts}: {found:?}");
    }
    assert!(faults("{\"a\": ")[0].contains("expected valid json"));
    assert!(faults("[]")[0].contains("expected a json object"));
    assert_eq!(faults(&"[".repeat(1 << 20)).len(), 1, "depth does not exhaust the stack");
}

proptest! {
    #[test]
    fn no_path_leads_away_from_the_base(path in "\\PC{0,40}|[/@:?#.%a-z]{0,20}") {
        let base = BaseUrl::new("https://host:1/v1?k=v").unwrap();
        let uri = base.join(&path);
        prop_assert_eq!(uri.scheme_str(), Some("https"));
        prop_assert_eq!(uri.authority().map(|it| it.as_str()), Some("host:1"));
        prop_assert!(uri.path().starts_with("/v1") && uri.query().is_some_and(|query| query.starts_with("k=v")));
    }
}

#[test]
fn the_way_to_the_backend_goes_through_the_proxy_that_counts_for_it() {
    const REMOTE: &str = "http://backend.example:8000/v1";
    let table: &[(&str, Env, Option<&str>)] = &[
        (REMOTE, &[("HTTP_PROXY", "http://a:1"), ("HTTPS_PROXY", "http://b:2")], Some("http://a:1")),
        (REMOTE, &[("http_proxy", "a:1")], Some("http://a:1")),
        (REMOTE, &[("http_proxy", "b:1"), ("HTTP_PROXY", "a:1")], Some("http://a:1")),
        (REMOTE, &[("HTTPS_PROXY", "http://b:2")], None),
        (REMOTE, &[("ALL_PROXY", "http://c:3")], Some("http://c:3")),
        (REMOTE, &[("ALL_PROXY", "socks5://c:3"), ("HTTP_PROXY", "a:1")], Some("http://a:1")),
        ("https://b.example", &[("HTTP_PROXY", "a:1"), ("HTTPS_PROXY", "b:2")], Some("http://b:2")),
        (REMOTE, &[("HTTP_PROXY", "a:1"), ("NO_PROXY", "x, .example")], None),
        (REMOTE, &[("HTTP_PROXY", "a:1"), ("no_proxy", "backend.example:8000")], None),
        (REMOTE, &[("HTTP_PROXY", "a:1"), ("NO_PROXY", "backend.example:80")], Some("http://a:1")),
        ("https://b.example", &[("HTTPS_PROXY", "b:2"), ("NO_PROXY", "b.example:443")], None),
        // Not looked at: nothing to do with this backend.
        ("http://127.0.0.1:8000", &[("HTTP_PROXY", "nonsense://"), ("ALL_PROXY", "socks5://c:3")], None),
        ("http://localhost:8000", &[("HTTP_PROXY", "a:1")], None),
        ("http://[::1]:8000", &[("HTTP_PROXY", "a:1"), ("NO_PROXY", "")], None),
        (REMOTE, &[("HTTP_PROXY", "nonsense://"), ("NO_PROXY", "*")], None),
    ];
    for (url, env, expected) in table {
        let env = [env, &[("OPENAI_BASE_URL", *url)][..]].concat();
        let proxy = with(&[], &env).config().backend.proxy.map(|proxy| proxy.to_string());
        assert_eq!(proxy.as_deref(), *expected, "{env:?}");
    }
    assert_eq!(with(&["demo"], &[("HTTPS_PROXY", "a:1")]).config().backend.proxy, None);
}

#[test]
fn a_proxy_that_cannot_be_used_is_a_fault_that_shows_no_password() {
    for name in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"] {
        for value in ["socks5://u:CANARY@h:1", "https://u:CANARY@h:1", "http://u:CANARY@h:x"] {
            let faults = with(&[], &[(name, value)]).faults();
            assert_eq!(faults.len(), 1);
            let expected = format!("{name} = <hidden>: expected an http:// url");
            assert!(faults[0].starts_with(&expected) && !faults[0].contains("CANARY"), "{faults:?}");
        }
    }
    let config = with(&[], &[("HTTPS_PROXY", "http://user:CANARY@h:1")]).config();
    let shown = format!("{config:?} {}", config.backend.proxy.as_ref().unwrap());
    assert!(!shown.contains("CANARY") && !shown.contains("user"), "{shown}");
}

#[test]
fn a_base_url_without_a_path_gets_the_one_that_its_host_has() {
    for (url, expected) in [
        ("https://me.openai.azure.com", "https://me.openai.azure.com/openai/v1/chat/completions"),
        ("https://me.openai.azure.com/openai/v1/", "https://me.openai.azure.com/openai/v1/chat/completions"),
        (
            "https://me.openai.azure.com/openai/deployments/d?api-version=1",
            "https://me.openai.azure.com/openai/deployments/d/chat/completions?api-version=1",
        ),
        ("https://azure.com.example", "https://azure.com.example/v1/chat/completions"),
    ] {
        assert_eq!(BaseUrl::new(url).unwrap().join("/chat/completions").to_string(), expected, "{url}");
    }
}
