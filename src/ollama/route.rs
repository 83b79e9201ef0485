//! [`Route`]: which endpoint a method and a path ask for, as Ollama's router decides it.

/// An endpoint that has an answer of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// `GET|HEAD /`
    Root,
    /// `GET|HEAD /api/version`
    Version,
    /// `GET /api/status`: whether Ollama's cloud may be used.
    Status,
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
    /// `POST /api/embed`
    Embed,
    /// `POST /api/embeddings`, the older one of a single text
    Embeddings,
    /// `POST /api/pull`
    Pull,
    /// `POST /api/push`
    Push,
    /// `POST /api/create`
    Create,
    /// `POST /api/copy`
    Copy,
    /// `DELETE /api/delete`
    Delete,
    /// `HEAD|POST /api/blobs/:digest`
    Blob,
    /// `POST /api/me`
    Me,
    /// `POST /api/signout`, and its older form `DELETE /api/user/keys/:key`
    Signout,
    /// `POST /api/experimental/web_search`
    WebSearch,
    /// `POST /api/experimental/web_fetch`
    WebFetch,
    /// `GET /api/experimental/model-recommendations`
    Recommendations,
    /// `/v1/...`: OpenAI's own API, by any method
    OpenAi,
    /// `GET|HEAD /health`
    Health,
    /// `GET|HEAD /live`
    Live,
    /// `GET|HEAD /ready`, and `/openai/health`, the predecessor's word for it
    Ready,
    /// `GET|HEAD /config/validate`
    Validate,
    /// `GET /metrics`
    Metrics,
}

/// What the router says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Routed {
    /// An endpoint.
    To(Route),
    /// The path without its trailing slash is one: 301 for GET, 307 for other methods, as gin does.
    Redirect,
    /// The path is one, the method is none of these.
    MethodNotAllowed(&'static [&'static str]),
    /// No such path.
    NotFound,
}

const GET: &[&str] = &["GET"];
const GET_OR_HEAD: &[&str] = &["GET", "HEAD"];
const HEAD_OR_POST: &[&str] = &["HEAD", "POST"];
const POST: &[&str] = &["POST"];
const DELETE: &[&str] = &["DELETE"];
/// The methods are the business of whoever stands behind.
const ANY: &[&str] = &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];

impl Route {
    /// Every endpoint with its path and methods. A path that ends in `/` (but the root) stands for all below it.
    const ALL: [(Route, &'static str, &'static [&'static str]); 29] = [
        (Route::Root, "/", GET_OR_HEAD),
        (Route::Version, "/api/version", GET_OR_HEAD),
        (Route::Status, "/api/status", GET),
        (Route::Tags, "/api/tags", GET_OR_HEAD),
        (Route::Ps, "/api/ps", GET),
        (Route::Show, "/api/show", POST),
        (Route::Chat, "/api/chat", POST),
        (Route::Generate, "/api/generate", POST),
        (Route::Embed, "/api/embed", POST),
        (Route::Embeddings, "/api/embeddings", POST),
        (Route::Pull, "/api/pull", POST),
        (Route::Push, "/api/push", POST),
        (Route::Create, "/api/create", POST),
        (Route::Copy, "/api/copy", POST),
        (Route::Delete, "/api/delete", DELETE),
        (Route::Blob, "/api/blobs/", HEAD_OR_POST),
        (Route::Me, "/api/me", POST),
        (Route::Signout, "/api/signout", POST),
        (Route::Signout, "/api/user/keys/", DELETE),
        (Route::WebSearch, "/api/experimental/web_search", POST),
        (Route::WebFetch, "/api/experimental/web_fetch", POST),
        (Route::Recommendations, "/api/experimental/model-recommendations", GET),
        (Route::OpenAi, "/v1/", ANY),
        (Route::Health, "/health", GET_OR_HEAD),
        (Route::Live, "/live", GET_OR_HEAD),
        (Route::Ready, "/ready", GET_OR_HEAD),
        (Route::Ready, "/openai/health", GET_OR_HEAD),
        (Route::Validate, "/config/validate", GET_OR_HEAD),
        (Route::Metrics, "/metrics", GET),
    ];

    /// The endpoint of a method and a path (without query). Paths are compared as they stand: no decoding, no case
    /// folding, no joining of slashes.
    #[must_use]
    pub fn find(method: &str, path: &str) -> Routed {
        if let Some((route, methods)) = Self::at(path) {
            return if methods.contains(&method) {
                Routed::To(route)
            } else {
                Routed::MethodNotAllowed(methods)
            };
        }
        match path.strip_suffix('/').filter(|short| *short != "/") {
            Some(short) if Self::at(short).is_some() => Routed::Redirect,
            _ => Routed::NotFound,
        }
    }

    /// How many paths there are.
    pub const ROWS: usize = Self::ALL.len();

    /// All paths, as they are known.
    pub fn paths() -> impl Iterator<Item = &'static str> {
        Self::ALL.iter().map(|(_, path, _)| *path)
    }

    /// Which of them is the endpoint's own, the first where it has two.
    #[must_use]
    pub fn row(self) -> usize {
        Self::ALL.iter().position(|(route, ..)| *route == self).unwrap_or_default()
    }

    fn at(path: &str) -> Option<(Route, &'static [&'static str])> {
        let is_it = |known: &str| match known.strip_suffix('/') {
            Some(_) if known.len() > 1 => path.len() > known.len() && path.starts_with(known),
            _ => path == known,
        };
        Self::ALL.iter().find(|(_, known, _)| is_it(known)).map(|(route, _, methods)| (*route, *methods))
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
            ("POST", "/", Routed::MethodNotAllowed(GET_OR_HEAD)),
            ("HEAD", "/api/tags", Routed::To(Route::Tags)),
            ("HEAD", "/api/ps", Routed::MethodNotAllowed(GET)),
            ("GET", "/api/chat", Routed::MethodNotAllowed(POST)),
            ("POST", "/api/chat", Routed::To(Route::Chat)),
            ("POST", "/api/chat/", Routed::Redirect),
            ("POST", "//api/chat", Routed::NotFound),
            ("POST", "/api/%63hat", Routed::NotFound),
            ("POST", "/API/chat", Routed::NotFound),
            ("GET", "//", Routed::NotFound),
            ("GET", "/nothing", Routed::NotFound),
            ("HEAD", "/api/blobs/sha256:ab", Routed::To(Route::Blob)),
            ("GET", "/api/blobs/sha256:ab", Routed::MethodNotAllowed(HEAD_OR_POST)),
            ("HEAD", "/api/blobs/", Routed::NotFound),
            ("DELETE", "/api/user/keys/a%2Fb", Routed::To(Route::Signout)),
            ("POST", "/v1/chat/completions", Routed::To(Route::OpenAi)),
            ("GET", "/v1/models/openai/gpt-4o", Routed::To(Route::OpenAi)),
            ("GET", "/v1", Routed::NotFound),
            ("GET", "/v1/", Routed::NotFound),
        ];
        for (method, path, expected) in table {
            assert_eq!(Route::find(method, path), expected, "{method} {path}");
        }
    }
    #[test]
    fn every_endpoint_has_a_row_that_is_its_own() {
        assert_eq!(Route::paths().count(), Route::ROWS);
        for (route, path, _) in Route::ALL {
            let own = Route::paths().nth(route.row()).unwrap();
            let (found, ..) = Route::ALL.iter().find(|(_, path, _)| *path == own).unwrap();
            assert_eq!(*found, route, "{path}");
        }
    }
}
