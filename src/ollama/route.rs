//! [`Route`]: which endpoint a method and a path ask for, as Ollama's router decides it.

/// An endpoint that is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// `GET|HEAD /`
    Root,
    /// `GET|HEAD /api/version`
    Version,
    /// `GET|HEAD /api/tags`
    Tags,
    /// `GET /api/ps`
    Ps,
    /// `POST /api/show`
    Show,
    /// `POST /api/chat`
    Chat,
    /// `POST /api/generate`
    Generate,
}

/// What the router says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Routed {
    /// An endpoint.
    To(Route),
    /// The path without its trailing slash is one: 301 for GET, 307 for other methods, as gin does.
    Redirect,
    /// The path is one, the method is not.
    MethodNotAllowed,
    /// No such path.
    NotFound,
}

const GET: &[&str] = &["GET"];
const GET_OR_HEAD: &[&str] = &["GET", "HEAD"];
const POST: &[&str] = &["POST"];

impl Route {
    /// Every endpoint with its path and methods.
    const ALL: [(Route, &'static str, &'static [&'static str]); 7] = [
        (Route::Root, "/", GET_OR_HEAD),
        (Route::Version, "/api/version", GET_OR_HEAD),
        (Route::Tags, "/api/tags", GET_OR_HEAD),
        (Route::Ps, "/api/ps", GET),
        (Route::Show, "/api/show", POST),
        (Route::Chat, "/api/chat", POST),
        (Route::Generate, "/api/generate", POST),
    ];

    /// The endpoint of a method and a path (without query). Paths are compared as they stand: no decoding, no case
    /// folding, no joining of slashes.
    #[must_use]
    pub fn find(method: &str, path: &str) -> Routed {
        if let Some((route, _, methods)) = Self::ALL.iter().find(|(_, known, _)| *known == path) {
            return if methods.contains(&method) { Routed::To(*route) } else { Routed::MethodNotAllowed };
        }
        match path.strip_suffix('/').filter(|short| *short != "/") {
            Some(short) if Self::ALL.iter().any(|(_, known, _)| *known == short) => Routed::Redirect,
            _ => Routed::NotFound,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_and_paths() {
        let table = [
            ("GET", "/", Routed::To(Route::Root)),
            ("HEAD", "/", Routed::To(Route::Root)),
            ("POST", "/", Routed::MethodNotAllowed),
            ("HEAD", "/api/tags", Routed::To(Route::Tags)),
            ("HEAD", "/api/ps", Routed::MethodNotAllowed),
            ("GET", "/api/chat", Routed::MethodNotAllowed),
            ("POST", "/api/chat", Routed::To(Route::Chat)),
            ("POST", "/api/chat/", Routed::Redirect),
            ("POST", "//api/chat", Routed::NotFound),
            ("POST", "/api/%63hat", Routed::NotFound),
            ("POST", "/API/chat", Routed::NotFound),
            ("GET", "//", Routed::NotFound),
            ("GET", "/nothing", Routed::NotFound),
        ];
        for (method, path, expected) in table {
            assert_eq!(Route::find(method, path), expected, "{method} {path}");
        }
    }
}
