//! The bodies of the operational routes. Ollama has none of them: the paths are those of the Python service that this
//! program replaces, so that probes which look at the status go on working.

use crate::wire::JsonWriter;
use bytes::BytesMut;

/// `/health`: the process serves.
pub fn write_health(environment: &str, uptime_s: u64, out: &mut BytesMut) {
    let mut json = JsonWriter::new(out);
    json.begin_object();
    json.key("status");
    json.string("healthy");
    json.key("version");
    json.string(env!("CARGO_PKG_VERSION"));
    json.key("environment");
    json.string(environment);
    json.key("uptime_seconds");
    json.uint(uptime_s);
    json.end_object();
}

/// `/live`
pub fn write_live(out: &mut BytesMut) {
    write_state("alive", None, out);
}

/// `/ready`, with a word about why not.
pub fn write_ready(verdict: Result<(), &str>, out: &mut BytesMut) {
    match verdict {
        Ok(()) => write_state("ready", None, out),
        Err(reason) => write_state("not ready", Some(reason), out),
    }
}

/// `/config/validate`: what runs is valid, or it would not run; what it was warned of is listed.
pub fn write_validation(warnings: &[String], out: &mut BytesMut) {
    let mut json = JsonWriter::new(out);
    json.begin_object();
    json.key("valid");
    json.bool(true);
    json.key("warnings");
    json.begin_array();
    for warning in warnings {
        json.string(warning);
    }
    json.end_array();
    json.end_object();
}

fn write_state(status: &str, reason: Option<&str>, out: &mut BytesMut) {
    let mut json = JsonWriter::new(out);
    json.begin_object();
    json.key("status");
    json.string(status);
    if let Some(reason) = reason {
        json.key("reason");
        json.string(reason);
    }
    json.end_object();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_as_the_probes_read_them() {
        let text = |write: &dyn Fn(&mut BytesMut)| {
            let mut out = BytesMut::new();
            write(&mut out);
            String::from_utf8(out.to_vec()).unwrap()
        };
        assert_eq!(text(&|out| write_live(out)), r#"{"status":"alive"}"#);
        assert_eq!(text(&|out| write_ready(Ok(()), out)), r#"{"status":"ready"}"#);
        assert_eq!(
            text(&|out| write_ready(Err("timeout"), out)),
            r#"{"status":"not ready","reason":"timeout"}"#
        );
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(
            text(&|out| write_health("a \"b\"", 7, out)),
            format!(
                r#"{{"status":"healthy","version":"{version}","environment":"a \"b\"","uptime_seconds":7}}"#
            )
        );
        let warnings = ["w\n".to_string()];
        assert_eq!(text(&|out| write_validation(&warnings, out)), r#"{"valid":true,"warnings":["w\n"]}"#);
        assert_eq!(text(&|out| write_validation(&[], out)), r#"{"valid":true,"warnings":[]}"#);
    }
}
