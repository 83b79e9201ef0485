//! PROXY_THREADS: every thread serves, all share what they know, and the end reaches them all.
//!
//! Which thread has a connection is the kernel's choice, by a hash of its address. So these tests open enough connections
//! that no thread can be left out, and the line that each thread logs at the end tells how many it had.

use crate::backend::Backend;
use crate::chunks::{delta, model_list};
use crate::client::{Client, content, error_of, json_line};
use crate::model_map::Map;
use crate::proxy::{Proxy, chat, run};
use crate::shutdown::pausing;
use crate::signal::PATIENCE;
use serde_json::json;
use std::collections::HashSet;
use std::time::Instant;

/// The chance that one of two threads gets none of them is one in 2^31.
const MANY: usize = 32;

fn on_two_threads(backend: &Backend, variables: &[(&str, &str)]) -> Proxy {
    Proxy::with(backend, &[&[("PROXY_THREADS", "2")], variables].concat())
}

fn streams(proxy: &Proxy, count: usize) -> Vec<Client> {
    let mut clients: Vec<Client> = (0..count).map(|_| proxy.client()).collect();
    for client in &mut clients {
        client.post("/api/chat", &chat("q"));
        assert_eq!(content(&[client.json_line_after_head()]), "Hello");
    }
    clients
}

/// The open connections of each thread when it was told to stop, the first thread's first.
fn open_connections(log: &str) -> Vec<usize> {
    let mut told: Vec<(&str, usize)> = log
        .split_inclusive('\n')
        .filter(|line| line.contains("running requests may end") && line.ends_with('\n'))
        .map(|line| {
            let field = |name: &str| {
                let (_, rest) = line.split_once(name)?;
                rest.split_whitespace().next()
            };
            (field(" thread=").unwrap_or_default(), field("open_connections=").unwrap().parse().unwrap())
        })
        .collect();
    told.sort_unstable();
    told.into_iter().map(|(_, open)| open).collect()
}

fn wait_for_stop(proxy: &Proxy) -> Vec<usize> {
    let log = proxy.wait_for_log("two threads that stop", |log| open_connections(log).len() == 2);
    open_connections(&log)
}

fn assert_spread(open: &[usize], count: usize) {
    assert_eq!(open.iter().sum::<usize>(), count, "{open:?}");
    assert!(open.iter().all(|open| *open > 0), "{open:?}");
}

#[test]
fn one_thread_is_the_usual() {
    let backend = Backend::hello();
    let proxy = Proxy::before(&backend);
    assert_eq!(proxy.chat("q").status(), 200);
    let threads = proxy.thread_names();
    assert!(!threads.iter().any(|name| name.starts_with("proxy-")), "{threads:?}");
    assert!(!proxy.log().contains("threads="), "{}", proxy.log());
}

#[test]
fn requests_are_answered_by_all_threads_and_counted_and_known_together() {
    let models = |_: &_, peer: &mut crate::backend::Peer| peer.json(200, &model_list(&["m", "other"]));
    let backend = Backend::with_models(models, |request, peer| peer.say(request, &["Hello"]));
    let mut proxy = on_two_threads(&backend, &[]);
    assert!(proxy.log().contains("threads=2"), "{}", proxy.log());
    let mut clients: Vec<Client> = (0..MANY).map(|_| proxy.client()).collect();
    for client in &mut clients {
        for _ in 0..2 {
            client.post("/api/chat", &chat("q"));
            assert_eq!(content(&client.answer().lines()), "Hello");
        }
    }
    let threads = proxy.thread_names();
    assert_eq!(threads.iter().filter(|name| name.starts_with("proxy-")).count(), 1, "{threads:?}");
    let seen = backend.seen();
    assert_eq!(seen.posts().len(), 2 * MANY);
    assert_eq!(
        seen.requests.len() - seen.posts().len(),
        1,
        "one list of models is asked for, and known to all"
    );
    // A thread counts an answer when its last byte is out already, and says so then.
    proxy.wait_for_log("all requests", |log| log.matches("outcome=done").count() == 2 * MANY);
    // On one of the connections that are looked at below.
    clients[0].request("GET", "/metrics", &[], None);
    let metrics = clients[0].answer().text();
    let counted =
        metrics.lines().find(|line| line.contains(r#"requests_total{route="/api/chat",status="2xx"}"#));
    assert!(counted.is_some_and(|line| line.ends_with(&format!(" {}", 2 * MANY))), "{metrics}");
    proxy.signal("TERM");
    assert_spread(&wait_for_stop(&proxy), MANY);
    assert_eq!(proxy.wait_exit().code(), Some(0), "{}", proxy.log());
}

#[test]
fn a_model_map_that_is_read_again_counts_on_all_threads() {
    let backend = Backend::hello();
    let map = Map::new("threads", &json!({"mine": "one"}));
    let mut proxy = on_two_threads(&backend, &[map.variable()]);
    let mut clients: Vec<Client> = (0..MANY).map(|_| proxy.client()).collect();
    let mut request = chat("q");
    request["model"] = json!("mine");
    let mut ask_all = |model: &str| {
        for client in &mut clients {
            client.post("/api/chat", &request);
            assert_eq!(content(&client.answer().lines()), "Hello world");
            assert_eq!(backend.posts().pop().unwrap().json()["model"], model);
        }
    };
    ask_all("one");
    map.write(&json!({"mine": "two"}).to_string());
    proxy.signal("HUP");
    proxy.wait_for_log("the map", |log| log.contains("the model map was read again"));
    ask_all("two");
    proxy.signal("TERM");
    assert_spread(&wait_for_stop(&proxy), MANY);
    assert_eq!(proxy.wait_exit().code(), Some(0), "{}", proxy.log());
}

#[test]
fn each_thread_has_connections_of_its_own_to_the_backend_and_keeps_them() {
    let backend = Backend::hello();
    let proxy = on_two_threads(&backend, &[]);
    for _ in 0..MANY {
        assert_eq!(proxy.chat("q").status(), 200);
    }
    let used: HashSet<usize> = backend.posts().iter().map(|request| request.connection).collect();
    assert!((2..MANY).contains(&used.len()), "{used:?}");
}

#[test]
fn streams_of_all_threads_end_whole_at_sigterm_and_then_the_process_does() {
    let (backend, go_on) = pausing();
    let mut proxy = on_two_threads(&backend, &[]);
    let mut clients = streams(&proxy, MANY);
    proxy.signal("TERM");
    assert_spread(&wait_for_stop(&proxy), MANY);
    assert!(std::net::TcpStream::connect(proxy.address).is_err(), "nobody new is let in");
    assert!(proxy.is_running());
    (0..MANY).for_each(|_| go_on.raise());
    for client in &mut clients {
        assert_eq!(content(&[client.json_line()]), " world");
        assert_eq!(client.json_line()["done"], true);
        assert_eq!(client.line().expect("the body ends well"), None);
    }
    assert_eq!(proxy.wait_exit().code(), Some(0), "{}", proxy.log());
    // The address is free again at once, whatever the end left behind.
    let address = proxy.address.to_string();
    let again = on_two_threads(&backend, &[("OLLAMA_HOST", &address)]);
    assert_eq!(again.get("/").status(), 200);
}

#[test]
fn streams_of_all_threads_that_outlast_the_grace_end_in_an_error_line() {
    let (backend, _never) = pausing();
    let mut proxy = on_two_threads(&backend, &[("SHUTDOWN_GRACE", "0.2")]);
    let mut clients = streams(&proxy, MANY);
    proxy.signal("TERM");
    for client in &mut clients {
        let line = client.line().expect("the answer goes on").expect("it has a last line");
        error_of(&json_line(&line));
        assert_eq!(client.line().expect("the body ends well"), None);
    }
    assert_eq!(proxy.wait_exit().code(), Some(0));
    assert_spread(&open_connections(&proxy.log()), MANY);
}

/// Also where the first thread, which hears the signals, has nothing left to do.
#[test]
fn a_second_signal_reaches_a_stream_on_any_thread() {
    let mut streamed_on = HashSet::new();
    while streamed_on.len() < 2 {
        let (backend, _never) = pausing();
        let mut proxy = on_two_threads(&backend, &[]);
        let _client = streams(&proxy, 1);
        proxy.signal("TERM");
        streamed_on.insert(wait_for_stop(&proxy));
        assert!(proxy.is_running());
        let told = Instant::now();
        proxy.signal("TERM");
        assert_eq!(proxy.wait_exit().code(), Some(0));
        assert!(told.elapsed() < PATIENCE / 3, "{:?}", told.elapsed());
    }
}

#[test]
fn clients_that_leave_end_the_backends_requests_on_all_threads() {
    let backend = Backend::new(|_, peer| {
        peer.begin();
        peer.event(&delta("Hello"));
        peer.wait_closed();
    });
    let proxy = on_two_threads(&backend, &[]);
    let clients = streams(&proxy, MANY);
    drop(clients);
    for request in backend.posts() {
        backend.wait_closed(request.connection);
    }
    proxy.wait_for_log("the cancelled requests", |log| log.matches("outcome=cancelled").count() == MANY);
}

/// The deepest calls must fit on every thread's stack, also in a build that is not optimized.
#[test]
fn what_is_nested_deeply_ends_no_thread() {
    let backend = Backend::hello();
    let mut proxy = on_two_threads(&backend, &[]);
    let deep = |text: &str| text.repeat(100_000);
    let body = format!(r#"{{"model":"m","messages":[{{"role":"user","content":"q"}}],"tools":{}"#, deep("["));
    for _ in 0..MANY {
        assert_eq!(proxy.ask("POST", "/api/chat", &[], Some(body.as_bytes())).status(), 400);
    }
    assert!(proxy.is_running());
}

#[test]
fn an_address_that_is_taken_is_refused_whatever_the_number_of_threads() {
    let backend = Backend::hello();
    for first in ["1", "2"] {
        let proxy = Proxy::with(&backend, &[("PROXY_THREADS", first)]);
        let address = proxy.address.to_string();
        for second in ["1", "2"] {
            let variables = [
                ("OPENAI_API_BASE_URL", backend.url()),
                ("OLLAMA_HOST", address.clone()),
                ("PROXY_THREADS", second.into()),
            ];
            let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let ended = run(&[], &variables);
            assert_eq!(ended.code, Some(1), "{second} beside {first}: {}", ended.stderr);
            assert!(ended.stderr.contains("cannot listen on"), "{}", ended.stderr);
        }
        assert_eq!(proxy.get("/").status(), 200);
    }
}
