//! The two rules as tables: 60 hosts, 80 origins.

use super::*;
use proptest::prelude::*;

fn guard(origins: &[&str]) -> Guard {
    let origins: Vec<_> = origins.iter().map(|origin| (*origin).to_owned()).collect();
    Guard::new(&origins, true, Some("Dev-Box"))
}

/// A request head: `Host` and `Origin` as often as they are given.
fn head(hosts: &[&[u8]], origins: &[&[u8]]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for host in hosts {
        headers.append(HOST, HeaderValue::from_bytes(host).unwrap());
    }
    for origin in origins {
        headers.append(ORIGIN, HeaderValue::from_bytes(origin).unwrap());
    }
    headers
}

fn check(guard: &Guard, method: Method, hosts: &[&[u8]], origins: &[&[u8]]) -> Verdict {
    guard.check(&method, &Uri::from_static("/api/chat"), &head(hosts, origins))
}

#[test]
fn hosts_of_this_machine_and_others() {
    let own: &[&[u8]] = &[
        b"",
        b"localhost",
        b"localhost:11434",
        b"localhost:",
        b"LocalHost:80",
        b"a.localhost",
        b"a.b.LOCALHOST:1",
        b"printer.local",
        b"host.docker.internal:11434",
        b"metadata.internal",
        b"my_box.local",
        b"dev-box",
        b"DEV-BOX:11434",
        b"127.0.0.1",
        b"127.0.0.1:11434",
        b"127.255.255.254",
        b"0.0.0.0",
        b"0.0.0.0:1",
        b"10.1.2.3",
        b"172.16.0.1",
        b"172.31.255.255:5",
        b"192.168.1.10:11434",
        b"169.254.1.1",
        b"[::1]",
        b"[::1]:11434",
        b"[::]:11434",
        b"[fd00::1]",
        b"[fe80::1]:1",
        b"[::ffff:127.0.0.1]",
        b"[0:0:0:0:0:0:0:1]",
        b":11434",
    ];
    let others: &[&[u8]] = &[
        b"evil.example",
        b"evil.example:11434",
        b"localhost.evil.example",
        b"localhost.",
        b"evil-localhost",
        b"evillocal",
        b"local",
        b"internal",
        b"evil.local.example",
        b"dev-box.evil.example",
        b"8.8.8.8",
        b"8.8.8.8:11434",
        b"172.32.0.1",
        b"172.15.0.1",
        b"192.169.0.1",
        b"[2001:db8::1]",
        b"[::ffff:8.8.8.8]",
        b"[::1",
        b"[::1]x",
        b"[::1]:x",
        b"[localhost]",
        b"::1:11434",
        b"127.1",
        b"2130706433",
        b"0x7f.0.0.1",
        b"0177.0.0.1",
        b"127.0.0.1.evil.example",
        b"localhost:abc",
        b"localhost:70000",
        b"localhost:1:2",
        b"user@localhost",
        b"evil.example/.local",
        b"evil.example#.localhost",
        b"evil.example, x.localhost",
        b"evil.example\t.local",
        b"x%2elocalhost",
        b"localh\xF6st",
        b"\xFF.localhost",
        b"*",
    ];
    assert!(own.len() + others.len() >= 40);
    let guard = guard(&[]);
    for (hosts, expected) in [(own, Verdict::Allow { cors: None }), (others, Verdict::Forbidden)] {
        for host in hosts {
            let shown = String::from_utf8_lossy(host);
            assert_eq!(check(&guard, Method::POST, &[host], &[]), expected, "{shown:?}");
            assert_eq!(check(&guard, Method::GET, &[host], &[]), expected, "{shown:?}");
        }
    }
}

#[test]
fn a_host_that_is_absent_twofold_or_in_the_target() {
    let guard = guard(&[]);
    let allowed = Verdict::Allow { cors: None };
    assert_eq!(check(&guard, Method::GET, &[], &[]), allowed, "http/1.0");
    assert_eq!(check(&guard, Method::GET, &[b"localhost", b"localhost"], &[]), Verdict::Forbidden);
    assert_eq!(check(&guard, Method::GET, &[b"localhost", b"evil.example"], &[]), Verdict::Forbidden);
    let rows: &[(&'static str, &[&[u8]], Verdict)] = &[
        ("http://localhost:1/x", &[b"localhost:1"], allowed.clone()),
        ("http://LOCALHOST:1/x", &[b"localhost:1"], allowed.clone()),
        ("http://localhost/x", &[], allowed.clone()),
        ("http://evil.example/x", &[], Verdict::Forbidden),
        ("http://evil.example/x", &[b"evil.example"], Verdict::Forbidden),
        ("http://evil.example/x", &[b"localhost"], Verdict::Forbidden),
        ("http://localhost/x", &[b"evil.example"], Verdict::Forbidden),
        ("http://user@localhost/x", &[], Verdict::Forbidden),
        ("http://[::1]:5/x", &[b"[::1]:5"], allowed.clone()),
    ];
    for (target, hosts, expected) in rows {
        let verdict = guard.check(&Method::GET, &Uri::from_static(target), &head(hosts, &[]));
        assert_eq!(verdict, *expected, "{target} {hosts:?}");
    }
}

#[test]
fn the_host_is_not_checked_when_others_can_reach_the_server() {
    let open = Guard::new(&[], false, None);
    for hosts in [&[&b"proxy.example"[..]][..], &[b"\xFF"], &[b"a", b"b"], &[]] {
        assert_eq!(check(&open, Method::POST, hosts, &[]), Verdict::Allow { cors: None });
    }
    assert_eq!(
        check(&open, Method::POST, &[b"proxy.example"], &[b"http://evil.example"]),
        Verdict::Forbidden
    );
}

#[test]
fn an_own_name_that_is_not_known_is_no_name() {
    let guard = Guard::new(&[], true, None);
    assert_eq!(check(&guard, Method::GET, &[b"dev-box"], &[]), Verdict::Forbidden);
}

const DEFAULT_ORIGINS: &[&[u8]] = &[
    b"http://localhost",
    b"https://localhost",
    b"http://localhost:3000",
    b"https://localhost:65535",
    b"http://127.0.0.1",
    b"https://127.0.0.1",
    b"http://127.0.0.1:8080",
    b"https://127.0.0.1:8443",
    b"http://0.0.0.0",
    b"https://0.0.0.0",
    b"http://0.0.0.0:3000",
    b"https://0.0.0.0:3000",
    b"HTTP://LOCALHOST:3000",
    b"app://obsidian.md",
    b"app://",
    b"file://",
    b"file:///home/u/index.html",
    b"tauri://localhost",
    b"vscode-webview://1a2b3c",
    b"vscode-file://vscode-app",
];

const FOREIGN_ORIGINS: &[&[u8]] = &[
    b"http://evil.example",
    b"https://evil.example",
    b"https://evil.example:11434",
    b"http://localhost.evil.example",
    b"http://localhost.",
    b"http://localhost:",
    b"http://localhost:abc",
    b"http://localhost:70000",
    b"http://localhost:80.evil.example",
    b"http://localhost:80/",
    b"http://localhost/",
    b"http://localhost@evil.example",
    b"http://localhost:80@evil.example",
    b"http://evil.example#localhost",
    b"http://notlocalhost",
    b"http://127.0.0.2",
    b"http://127.0.0.1.evil.example",
    b"http://127.0.0.10",
    b"http://0.0.0.0.evil.example",
    b"http://[::1]",
    b"http://[::1]:3000",
    b"http://192.168.1.10",
    b"http://box.local",
    b"http://host.docker.internal",
    b"null",
    b"*",
    b"localhost",
    b"localhost:3000",
    b"//localhost",
    b"http:localhost",
    b"http:/localhost",
    b"http://",
    b"https://",
    b"ws://localhost",
    b"ftp://localhost",
    b"chrome-extension://abcdef",
    b"moz-extension://abcdef",
    b"safari-web-extension://abcdef",
    b"capacitor://localhost",
    b"ionic://localhost",
    b"data:text/html,x",
    b"blob:http://localhost/x",
    b"xapp://x",
    b"app:/x",
    b"tauri:localhost",
    b"vscode-webviewx://a",
    b" http://localhost",
    b"http://localhost http://evil.example",
    b"http://localhost,http://evil.example",
    b"http://localhost\xFF",
    b"http://l\xF6calhost",
];

fn echoed(origin: &[u8]) -> Verdict {
    Verdict::Allow { cors: Some(CorsHeaders { allow_origin: HeaderValue::from_bytes(origin).unwrap() }) }
}

#[test]
fn origins_that_are_trusted_without_being_listed() {
    assert!(DEFAULT_ORIGINS.len() + FOREIGN_ORIGINS.len() >= 60);
    let guard = guard(&[]);
    for origin in DEFAULT_ORIGINS {
        for method in [Method::GET, Method::POST, Method::DELETE, Method::HEAD] {
            let verdict = check(&guard, method, &[b"127.0.0.1:11434"], &[origin]);
            assert_eq!(verdict, echoed(origin), "{:?}", String::from_utf8_lossy(origin));
        }
    }
}

#[test]
fn foreign_origins_are_refused_on_every_method() {
    let guard = guard(&[]);
    for origin in FOREIGN_ORIGINS {
        for method in [Method::GET, Method::POST, Method::OPTIONS, Method::DELETE] {
            let verdict = check(&guard, method, &[b"127.0.0.1:11434"], &[origin]);
            assert_eq!(verdict, Verdict::Forbidden, "{:?}", String::from_utf8_lossy(origin));
        }
    }
}

#[test]
fn listed_origins_with_one_star_each() {
    let guard = guard(&[
        "https://chat.example",
        "https://*.corp.example",
        "chrome-extension://*",
        "http://dev.example:*",
        "*.suffix.example",
        "https://aba*aba",
    ]);
    let rows: &[(&[u8], bool)] = &[
        (b"https://chat.example", true),
        (b"https://CHAT.example", true),
        (b"http://chat.example", false),
        (b"https://chat.example:8443", false),
        (b"https://chat.example.evil", false),
        (b"https://a.corp.example", true),
        (b"https://a.b.corp.example", true),
        (b"https://corp.example", false),
        (b"https://.corp.example", true),
        (b"https://a.corp.example.evil", false),
        (b"http://a.corp.example", false),
        (b"chrome-extension://abcdef", true),
        (b"moz-extension://abcdef", false),
        (b"http://dev.example:80", true),
        (b"http://dev.example", false),
        (b"gopher://x.suffix.example", true),
        (b"https://aba", false),
        (b"https://abaaba", true),
        (b"http://localhost:1", true),
        (b"https://evil.example", false),
    ];
    for (origin, allowed) in rows {
        let expected = if *allowed { echoed(origin) } else { Verdict::Forbidden };
        let verdict = check(&guard, Method::POST, &[b"localhost"], &[origin]);
        assert_eq!(verdict, expected, "{:?}", String::from_utf8_lossy(origin));
    }
}

#[test]
fn no_origin_and_the_own_origin_get_no_headers() {
    let (guard, open) = (guard(&[]), Guard::new(&[], false, None));
    let plain = Verdict::Allow { cors: None };
    assert_eq!(check(&guard, Method::GET, &[b"localhost"], &[]), plain);
    assert_eq!(check(&guard, Method::GET, &[b"localhost"], &[b""]), plain, "an empty one is none");
    assert_eq!(check(&guard, Method::GET, &[b"localhost:11434"], &[b"http://localhost:11434"]), plain);
    assert_eq!(
        check(&guard, Method::OPTIONS, &[b"box.local"], &[b"https://box.local"]),
        plain,
        "not a preflight"
    );
    assert_eq!(check(&open, Method::POST, &[b"proxy.example"], &[b"https://proxy.example"]), plain);
    // The rebound page: one origin for the browser, and that is why the host is looked at too.
    assert_eq!(
        check(&guard, Method::POST, &[b"evil.example"], &[b"http://evil.example"]),
        Verdict::Forbidden
    );
    assert_eq!(check(&guard, Method::POST, &[b""], &[b"http://"]), Verdict::Forbidden);
}

#[test]
fn two_origins_are_refused() {
    let guard = guard(&["*"]);
    let verdict = check(&guard, Method::POST, &[b"localhost"], &[b"http://localhost", b"http://localhost"]);
    assert_eq!(verdict, Verdict::Forbidden);
}

#[test]
fn allowed_answers_name_the_origin_and_vary_by_it() {
    let pairs = |guard: &Guard, origin: &[u8]| match check(guard, Method::POST, &[b"localhost"], &[origin]) {
        Verdict::Allow { cors: Some(cors) } => cors
            .pairs()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        pairs(&guard(&[]), b"http://localhost:3000"),
        ["access-control-allow-origin: http://localhost:3000", "vary: Origin"]
    );
    for origin in [&b"https://evil.example"[..], b"null", b"http://localhost:1"] {
        assert_eq!(pairs(&guard(&["http://a", "*"]), origin), ["access-control-allow-origin: *"]);
    }
}

#[test]
fn preflights_say_what_is_allowed() {
    let preflight = |guard: &Guard, host: &[u8], origin: &[u8]| {
        let mut headers = head(&[host], &[origin]);
        headers.insert("access-control-request-method", HeaderValue::from_static("POST"));
        headers.insert("access-control-request-private-network", HeaderValue::from_static("true"));
        match guard.check(&Method::OPTIONS, &Uri::from_static("/no/such/path"), &headers) {
            Verdict::Preflight(headers) => headers,
            other => panic!("{other:?}"),
        }
    };
    let headers = preflight(&guard(&[]), b"localhost:11434", b"app://x");
    let mut lines: Vec<_> =
        headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
    lines.sort();
    assert_eq!(
        lines,
        [
            "access-control-allow-headers: Authorization,Content-Type,User-Agent,Accept,X-Requested-With,OpenAI-Beta,\
             x-stainless-arch,x-stainless-async,x-stainless-custom-poll-interval,x-stainless-helper-method,\
             x-stainless-lang,x-stainless-os,x-stainless-package-version,x-stainless-poll-helper,\
             x-stainless-retry-count,x-stainless-runtime,x-stainless-runtime-version,x-stainless-timeout",
            "access-control-allow-methods: GET,POST,PUT,PATCH,DELETE,HEAD,OPTIONS",
            "access-control-allow-origin: app://x",
            "access-control-max-age: 43200",
            "vary: Origin,Access-Control-Request-Method,Access-Control-Request-Headers",
        ]
    );
    let any = preflight(&guard(&["*"]), b"localhost", b"https://evil.example");
    assert_eq!(any.get(ACCESS_CONTROL_ALLOW_ORIGIN).unwrap(), "*");
    assert!(!any.contains_key(VARY));
    // Origin is judged first, so an allowed page learns this much under any host.
    preflight(&guard(&[]), b"evil.example", b"http://localhost");
}

#[test]
fn options_without_an_origin_is_a_request_like_others() {
    let guard = guard(&[]);
    assert_eq!(check(&guard, Method::OPTIONS, &[b"localhost"], &[]), Verdict::Allow { cors: None });
    assert_eq!(check(&guard, Method::OPTIONS, &[b"evil.example"], &[]), Verdict::Forbidden);
}

const NEARLY_LOCAL: &str = r"[a-z.:\[\]0-9@/ -]{0,24}(localhost|\.local|\.internal|evil)?(:[0-9]{0,6})?";

proptest! {
    /// Against the rule said in the plainest words: what passes ends in a local name or is an address.
    #[test]
    fn only_local_names_and_addresses_pass(host in NEARLY_LOCAL) {
        let verdict = check(&guard(&[]), Method::POST, &[host.as_bytes()], &[]);
        if verdict != Verdict::Forbidden {
            let name = match host.rsplit_once(':') {
                Some((name, port)) if !port.contains(']') => name,
                _ => &host,
            };
            let is_local = ["", "localhost", "dev-box"].contains(&name)
                || [".localhost", ".local", ".internal"].iter().any(|ending| name.ends_with(ending))
                || name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
            prop_assert!(is_local && !name.contains(['@', '/', ' ']), "{host:?}");
        }
    }

    #[test]
    fn no_header_breaks_the_check(bytes in prop::collection::vec(0x20u8.., 0..24)) {
        let bytes: Vec<_> = bytes.into_iter().filter(|byte| *byte != 0x7F).collect();
        check(&guard(&["http://*.example"]), Method::OPTIONS, &[&bytes], &[&bytes]);
    }
}
