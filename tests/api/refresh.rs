//! The list of models while it grows old (dialects M7): answered at once, asked for anew behind that, by one request for
//! all, and kept when that fails. `MODELS_TTL=0` makes every list old, so nothing here waits for a clock.

use crate::backend::{Backend, Peer, Request};
use crate::chunks::model_list;
use crate::proxy::Proxy;
use crate::signal::{PATIENCE, Signal};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

fn gets(backend: &Backend) -> usize {
    backend.seen().requests.iter().filter(|request| request.method == "GET").count()
}

fn names(tags: &Value) -> Vec<&str> {
    tags["models"].as_array().unwrap().iter().map(|model| model["name"].as_str().unwrap()).collect()
}

/// Asks for the list until it names the model.
fn wait_for_name(proxy: &Proxy, headers: &[(&str, &str)], name: &str) {
    let began = Instant::now();
    while !names(&proxy.ask("GET", "/api/tags", headers, None).json()).contains(&name) {
        assert!(began.elapsed() < PATIENCE, "{name} is never listed");
        std::thread::yield_now();
    }
}

/// Answers the first question for the list with `first`, the others when the signal says so, with `then`.
fn listing(first: Value, then: impl Fn(&mut Peer) + Send + Sync + 'static) -> (Backend, Arc<Signal>) {
    let (go_on, asked) = (Signal::new(), AtomicUsize::new(0));
    let wait = Arc::clone(&go_on);
    let models = move |_: &Request, peer: &mut Peer| {
        if asked.fetch_add(1, Ordering::Relaxed) == 0 {
            return peer.json(200, &first);
        }
        wait.wait();
        then(peer);
    };
    (Backend::with_models(models, |request, peer| peer.say(request, &["Hi"])), go_on)
}

#[test]
fn an_old_list_is_answered_at_once_while_one_request_asks_for_a_new_one() {
    let (backend, go_on) = listing(model_list(&["first"]), |peer| peer.json(200, &model_list(&["second"])));
    let proxy = Proxy::with(&backend, &[("MODELS_TTL", "0")]);
    for _ in 0..6 {
        assert_eq!(names(&proxy.get("/api/tags").json()), ["first:latest"]);
        assert_eq!(proxy.post("/api/show", &json!({"model": "FIRST"})).status(), 200);
    }
    backend.wait_until("the second list is asked for", |seen| seen.requests.len() == 2);
    assert_eq!(gets(&backend), 2, "one asks for all");
    // The list that is old again at once is asked for again, too.
    (0..10_000).for_each(|_| go_on.raise());
    wait_for_name(&proxy, &[], "second:latest");
}

#[test]
fn a_list_that_cannot_be_had_anew_leaves_the_old_one() {
    let (backend, go_on) = listing(model_list(&["m"]), |peer| peer.respond(500, &[], "boom"));
    let proxy = Proxy::with(&backend, &[("MODELS_TTL", "0"), ("LOG_LEVEL", "DEBUG")]);
    assert_eq!(names(&proxy.get("/api/tags").json()), ["m:latest"]);
    assert_eq!(names(&proxy.get("/api/tags").json()), ["m:latest"]);
    go_on.raise();
    proxy.wait_for_log("the failure", |log| log.contains("cannot get the list of models"));
    for _ in 0..6 {
        assert_eq!(names(&proxy.get("/api/tags").json()), ["m:latest"]);
    }
    let shown = proxy.post("/api/show", &json!({"model": "other"}));
    assert_eq!((shown.status(), shown.error()), (404, "model 'other:latest' not found".to_string()));
    assert_eq!(gets(&backend), 2, "and is not asked for again for a while");
}

#[test]
fn a_name_that_an_old_list_lacks_is_looked_for_in_a_new_one() {
    let (backend, go_on) = listing(json!([]), |peer| peer.json(200, &model_list(&["new"])));
    let proxy = Proxy::with(&backend, &[("MODELS_TTL", "0")]);
    assert_eq!(proxy.get("/api/tags").text(), r#"{"models":[]}"#);
    (0..10_000).for_each(|_| go_on.raise());
    let pulled = proxy.post("/api/pull", &json!({"model": "new"}));
    assert_eq!(pulled.lines()[1], json!({"status": "success"}), "the backend has it by now");
}

#[test]
fn a_name_that_is_not_in_a_young_list_asks_for_no_newer_one() {
    let (backend, _) = listing(json!([]), |peer| peer.json(200, &model_list(&["new"])));
    let proxy = Proxy::before(&backend);
    assert_eq!(proxy.get("/api/tags").text(), r#"{"models":[]}"#);
    for _ in 0..6 {
        assert_eq!(proxy.post("/api/show", &json!({"model": "new"})).status(), 404);
    }
    assert_eq!(gets(&backend), 1, "whoever asks for anything must not make the proxy ask each time");
}

#[test]
fn each_key_has_its_own_list_which_is_refreshed_with_that_key() {
    let asked = AtomicUsize::new(0);
    let models = move |request: &Request, peer: &mut Peer| {
        let key = request.header("authorization").unwrap_or("none").replace("Bearer ", "");
        let time = asked.fetch_add(1, Ordering::Relaxed) + 1;
        peer.json(200, &model_list(&[&format!("{key}-{time}")]));
    };
    let backend = Backend::with_models(models, |request, peer| peer.say(request, &["Hi"]));
    let proxy = Proxy::with(&backend, &[("MODELS_TTL", "0")]);
    let (a, b) = ([("authorization", "Bearer a")], [("authorization", "Bearer b")]);
    let listed = |headers: &[(&str, &str)]| {
        let tags = proxy.ask("GET", "/api/tags", headers, None).json();
        names(&tags).join(" ")
    };
    assert_eq!(listed(&a), "a-1:latest");
    assert_eq!(listed(&b), "b-2:latest");
    let began = Instant::now();
    for headers in [&a, &b, &a, &b] {
        let before = listed(headers);
        loop {
            let now = listed(headers);
            assert!(now.starts_with(headers[0].1.trim_start_matches("Bearer ")), "{now}");
            if now != before {
                break;
            }
            assert!(began.elapsed() < PATIENCE, "{before} is never refreshed");
            std::thread::yield_now();
        }
    }
    assert!(listed(&[]).starts_with("none-"), "without a key there is a third");
}

#[test]
fn a_key_whose_list_does_not_come_holds_up_no_other() {
    let (asked, go_on) = (Signal::new(), Signal::new());
    let (tell, wait) = (Arc::clone(&asked), Arc::clone(&go_on));
    let models = move |request: &Request, peer: &mut Peer| {
        if request.header("authorization") == Some("Bearer made-up") {
            tell.raise();
            wait.wait();
        }
        peer.json(200, &model_list(&["m"]));
    };
    let backend = Backend::with_models(models, |request, peer| peer.say(request, &["Hi"]));
    let proxy = Proxy::before(&backend);
    let mut stuck = proxy.client();
    stuck.request("GET", "/api/tags", &[("authorization", "Bearer made-up")], None);
    asked.wait();
    let listed = proxy.ask("GET", "/api/tags", &[("authorization", "Bearer good")], None);
    assert_eq!(names(&listed.json()), ["m:latest"]);
    go_on.raise();
    assert_eq!(stuck.answer().status(), 200);
}
