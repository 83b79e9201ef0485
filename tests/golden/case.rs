//! The golden cases of this directory, and the pure core driven as floor 3 drives it. `tests/golden.rs` compares the
//! bytes, `tests/split.rs` cuts the streams.
//!
//! `<endpoint>/<case>/` holds `note` (the row of the dialect catalogue or of the contract, and what must hold),
//! `client.json` (the client's request), `upstream.json` (the backend's request), the backend's answer, and
//! `client.ndjson` (the client's answer, line ends included). The answer is `upstream.sse`, or `upstream.body` with its
//! content type in `upstream.head`; without that file the backend named no type. There is neither request nor answer
//! where the backend must not be asked. `dialect` names the kind of backend when it is not the unknown one, and
//! `models.json` is its model list when it has one.
//!
//! `demands` names what the backend wants to read in a history (`reasoning`, `signatures`), `think_tags` how its texts
//! hold their reasoning (`on`, `open`).
//!
//! A failure before the first line is the body of a failed request, without a line end; behind a line it is a line.

use bytes::{Bytes, BytesMut};
use ollama_openai_proxy::ollama::{
    self, ChatRequest, Common, DoneReason, EmbedEndpoint, EmbedRequest, Endpoint, GenerateRequest, KeepAlive,
    Texts, Timestamp,
};
use ollama_openai_proxy::openai::{self, Demands, Dialect, Profile};
use ollama_openai_proxy::translate::{
    self, BodyKind, Catalogue, EmbedTranslator, ModelSettings, StreamTranslator, ThinkTags, Wanted,
};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// 2026-08-21T10:00:00.12Z
pub(crate) const STARTED_AT_NS: u64 = 1_787_306_400_120_000_000;
/// What `load_duration` says.
pub(crate) const LOAD: Duration = Duration::from_nanos(456_789);
/// What `total_duration` says; `created_at` is then 2026-08-21T10:00:00.123456789Z.
pub(crate) const NOW: Duration = Duration::from_nanos(3_456_789);

/// One directory.
pub(crate) struct Case {
    pub(crate) directory: PathBuf,
    /// `chat/F04-crlf`
    pub(crate) name: String,
    pub(crate) note: String,
    pub(crate) client: Vec<u8>,
    pub(crate) upstream: Option<Body>,
    dialect: Dialect,
    think_tags: ThinkTags,
    models: Option<Vec<u8>>,
}

/// What the backend answers.
#[derive(Clone)]
pub(crate) struct Body {
    pub(crate) kind: BodyKind,
    pub(crate) bytes: Bytes,
}

/// What the program makes of a client's request.
pub(crate) enum Asked<'a> {
    /// The backend is asked this.
    Backend { request: Bytes, question: Box<Question<'a>> },
    /// It is asked for vectors.
    Vectors { request: Bytes, question: EmbedRequest<'a> },
    /// The client has its answer already.
    Answered(Vec<u8>),
}

pub(crate) enum Question<'a> {
    Chat(ChatRequest<'a>),
    Generate(GenerateRequest<'a>),
}

/// Every case, in the order of the names.
pub(crate) fn all() -> Vec<Case> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut cases: Vec<Case> =
        subdirectories(&root).iter().flat_map(|endpoint| subdirectories(endpoint)).map(Case::read).collect();
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(!cases.is_empty(), "no case below {}", root.display());
    cases
}

fn subdirectories(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.is_dir()).collect()
}

impl Case {
    fn read(directory: PathBuf) -> Self {
        let parent = directory.parent().unwrap().file_name().unwrap().to_str().unwrap();
        let name = format!("{parent}/{}", directory.file_name().unwrap().to_str().unwrap());
        let upstream = match (file(&directory, "upstream.sse"), file(&directory, "upstream.body")) {
            (Some(bytes), None) => Some(Body { kind: BodyKind::Events, bytes: bytes.into() }),
            (None, Some(bytes)) => {
                let head = text(&directory, "upstream.head").unwrap_or_default();
                Some(Body { kind: body_kind(head.lines().next().unwrap_or_default()), bytes: bytes.into() })
            }
            (None, None) => None,
            (Some(_), Some(_)) => panic!("{name}: both upstream.sse and upstream.body"),
        };
        let profile = match text(&directory, "dialect").as_deref().map(str::trim) {
            None => Profile::default(),
            Some(kind) => {
                Profile::named(kind).unwrap_or_else(|| panic!("{name}: no dialect is called {kind:?}"))
            }
        };
        let demands = text(&directory, "demands").unwrap_or_default();
        let demands =
            Demands { reasoning: demands.contains("reasoning"), signatures: demands.contains("signatures") };
        let think_tags = match text(&directory, "think_tags").as_deref().map(str::trim) {
            None => ThinkTags::Off,
            Some("on") => ThinkTags::On,
            Some("open") => ThinkTags::Open,
            Some(other) => panic!("{name}: no think_tags are called {other:?}"),
        };
        Case {
            note: text(&directory, "note").unwrap_or_else(|| panic!("{name}: no note")),
            client: file(&directory, "client.json").unwrap_or_else(|| panic!("{name}: no client.json")),
            models: file(&directory, "models.json"),
            dialect: Dialect { profile, demands, ..Dialect::default() },
            think_tags,
            upstream,
            directory,
            name,
        }
    }

    /// The bytes of `upstream.json` or `client.ndjson`.
    pub(crate) fn expected(&self, name: &str) -> Option<Vec<u8>> {
        file(&self.directory, name)
    }

    /// The rows of the case: that of the directory's name (`F04` of `chat/F04-crlf`), and those with which the note begins
    /// (`R1, R2, contract 2.1: ...`).
    pub(crate) fn rows(&self) -> Vec<String> {
        let name = self.name.rsplit('/').next().and_then(|name| name.split('-').next());
        let noted = self.note.split(':').next().unwrap_or_default().split(", ");
        name.into_iter().chain(noted).filter_map(row).collect()
    }

    /// What happens to the client's request.
    pub(crate) fn ask(&self) -> Asked<'_> {
        if let Some(endpoint) = self.embed_endpoint() {
            return self.ask_for_vectors(endpoint);
        }
        let question = match Question::parse(&self.name, &self.client) {
            Ok(question) => question,
            Err(error) => return Asked::Answered(error_body(&error.to_string())),
        };
        if question.is_empty() {
            return Asked::Answered(loaded(&question));
        }
        let mut request = BytesMut::new();
        let model = self.backend_name(&question.common().model);
        let written = match &question {
            Question::Chat(chat) => {
                translate::write_chat(chat, &model, self.dialect, &|_| None, &mut request)
            }
            Question::Generate(generate) => {
                translate::write_generate(generate, &model, self.dialect, &mut request)
            }
        };
        match written {
            Ok(()) => Asked::Backend { request: request.freeze(), question: Box::new(question) },
            Err(error) => Asked::Answered(error_body(&error.to_string())),
        }
    }

    fn embed_endpoint(&self) -> Option<EmbedEndpoint> {
        match self.name.split('/').next()? {
            "embed" => Some(EmbedEndpoint::Embed),
            "embeddings" => Some(EmbedEndpoint::Embeddings),
            _ => None,
        }
    }

    fn ask_for_vectors(&self, endpoint: EmbedEndpoint) -> Asked<'_> {
        let question = match EmbedRequest::parse(endpoint, &self.client) {
            Ok(question) => question,
            Err(error) => return Asked::Answered(error_body(&error.to_string())),
        };
        let mut out = BytesMut::new();
        if question.texts == Texts::None {
            ollama::write_no_embedding(endpoint, &question.model, &mut out);
            return Asked::Answered(out.to_vec());
        }
        translate::write_embed(&question, &self.backend_name(&question.model), self.dialect, &mut out);
        Asked::Vectors { request: out.freeze(), question }
    }

    /// The backend's name of a model: out of its list, else the client's name without `:latest`.
    fn backend_name(&self, asked: &str) -> String {
        let settings = ModelSettings::default();
        let listed = self.models.as_deref().and_then(|body| {
            let models = openai::parse_models(body).expect("models.json is a list");
            let catalogue = Catalogue::new(&models, &settings, |id| id.to_string());
            catalogue.backend_name(asked).map(str::to_string)
        });
        listed.unwrap_or_else(|| settings.unlisted(asked).to_string())
    }
}

impl<'a> Question<'a> {
    fn parse(name: &str, body: &'a [u8]) -> Result<Self, ollama::RequestError> {
        if name.starts_with("chat") {
            ChatRequest::parse(body).map(Question::Chat)
        } else {
            GenerateRequest::parse(body).map(Question::Generate)
        }
    }

    pub(crate) fn common(&self) -> &Common<'a> {
        match self {
            Question::Chat(request) => &request.common,
            Question::Generate(request) => &request.common,
        }
    }

    fn endpoint(&self) -> Endpoint {
        match self {
            Question::Chat(_) => Endpoint::Chat,
            Question::Generate(_) => Endpoint::Generate,
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Question::Chat(request) => request.messages.is_empty(),
            Question::Generate(request) => request.prompt.is_empty(),
        }
    }

    /// What the translator is told of the request.
    pub(crate) fn wanted(&self, case: &Case) -> Wanted<'_> {
        let common = self.common();
        Wanted {
            endpoint: self.endpoint(),
            model: &common.model,
            stream: common.stream,
            think: common.think,
            logprobs: common.logprobs.then_some(common.top_logprobs),
            think_tags: case.think_tags,
            started_at: Timestamp::from_unix_ns(STARTED_AT_NS),
            load: LOAD,
        }
    }
}

/// The client's bytes when the backend's come in these parts and then end.
pub(crate) fn translated(
    wanted: &Wanted<'_>,
    kind: BodyKind,
    parts: impl IntoIterator<Item = Bytes>,
) -> Vec<u8> {
    let mut translator = StreamTranslator::new(wanted, kind);
    let mut out = BytesMut::new();
    let result = parts
        .into_iter()
        .try_for_each(|part| translator.push(&part, NOW, &mut out).map(|_| ()))
        .and_then(|()| translator.finish(NOW, &mut out));
    if let Err(fault) = result {
        let is_line = !out.is_empty();
        ollama::write_error(&fault.to_string(), &mut out);
        if is_line {
            out.extend_from_slice(b"\n");
        }
    }
    out.to_vec()
}

/// The same where vectors were asked for: an answer is an object without a line end.
pub(crate) fn embedded(question: &EmbedRequest<'_>, parts: impl IntoIterator<Item = Bytes>) -> Vec<u8> {
    let mut translator = EmbedTranslator::new(question);
    let pushed = parts.into_iter().try_for_each(|part| translator.push(&part));
    match pushed.and_then(|()| translator.finish(NOW, LOAD)) {
        Ok(mut reply) => {
            let mut out = BytesMut::new();
            while !reply.is_over() {
                let whole = reply.write_next(&mut out);
                out.extend_from_slice(&whole.unwrap_or_default());
            }
            out.to_vec()
        }
        Err(fault) => error_body(&fault.to_string()),
    }
}

/// `F04` of `F4` or `F04`, `C07` of `C-7`, `E08` of `E8(f)`; `None` for what is no row.
fn row(text: &str) -> Option<String> {
    let text = text.split('(').next()?.trim();
    let (letter, number) = text.split_at_checked(1)?;
    let number = number.strip_prefix('-').unwrap_or(number);
    let is_row = letter.starts_with(|letter: char| letter.is_ascii_uppercase()) && number.len() <= 2;
    is_row.then(|| number.parse::<u8>().ok().map(|number| format!("{letter}{number:02}")))?
}

/// As the handler on floor 3 reads a content type.
fn body_kind(content_type: &str) -> BodyKind {
    let content_type = content_type.to_ascii_lowercase();
    let streams = ["text/event-stream", "ndjson", "jsonl"];
    if streams.iter().any(|kind| content_type.contains(kind)) { BodyKind::Events } else { BodyKind::Unsaid }
}

fn loaded(question: &Question<'_>) -> Vec<u8> {
    let unload = question.common().keep_alive == Some(KeepAlive::Unload);
    let reason = if unload { DoneReason::Unload } else { DoneReason::Load };
    let now = Timestamp::from_unix_ns(STARTED_AT_NS).after(NOW);
    let mut out = BytesMut::new();
    ollama::write_loaded(question.endpoint(), &question.common().model, now, reason, &mut out);
    out.to_vec()
}

fn error_body(message: &str) -> Vec<u8> {
    let mut out = BytesMut::new();
    ollama::write_error(message, &mut out);
    out.to_vec()
}

fn file(directory: &Path, name: &str) -> Option<Vec<u8>> {
    fs::read(directory.join(name)).ok()
}

fn text(directory: &Path, name: &str) -> Option<String> {
    file(directory, name).map(|bytes| String::from_utf8(bytes).unwrap())
}
