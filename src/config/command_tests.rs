//! The words of the command line, and the flags that belong to one of them.

use super::*;

fn command(args: &[&str]) -> Command {
    match with(args, &[]).parse() {
        Ok(Invocation::Run { command, .. }) => command,
        other => panic!("{args:?}: {other:?}"),
    }
}

#[test]
fn commands_and_their_flags() {
    assert_eq!(command(&[]), Command::Serve);
    assert_eq!(command(&["serve"]), Command::Serve);
    assert_eq!(command(&["health", "--port", "1"]), Command::Health);
    assert_eq!(command(&["--port", "1", "health"]), Command::Health);
    assert_eq!(command(&["demo"]), Command::Demo { once: false });
    assert_eq!(command(&["--once", "demo"]), Command::Demo { once: true });
    let doctor = |models: &[&str], json| Command::Doctor {
        models: models.iter().map(ToString::to_string).collect(),
        json,
    };
    assert_eq!(command(&["doctor"]), doctor(&[], false));
    assert_eq!(command(&["--json", "doctor", "a", "--port", "1", "serve"]), doctor(&["a", "serve"], true));
    let rows: &[(&[&str], &[&str])] = &[
        (&["srve"], &[r#"command = "srve": expected at most one word: serve, demo, health or doctor"#]),
        (
            &["serve", "demo"],
            &[r#"command = "demo": expected at most one word: serve, demo, health or doctor"#],
        ),
        (&["--once"], &["--once: expected the command demo before it"]),
        (&["health", "--once"], &["--once: expected the command demo before it"]),
        (&["demo", "--once=1"], &["--once: expected no value"]),
        (&["demo", "--json"], &["--json: expected the command doctor before it"]),
        (&["doctor", ""], &["doctor: expected names of models in utf-8"]),
        (&["--frob"], &["--frob: expected a flag that --help lists"]),
        (&["-x"], &["-x: expected a flag that --help lists"]),
        (&["--port"], &["--port: expected a value, PORT"]),
        (&["--debug=maybe"], &[r#"--debug = "maybe": expected true or false"#]),
    ];
    for (args, faults) in rows {
        assert_eq!(with(args, &[]).faults(), *faults, "{args:?}");
    }
}
