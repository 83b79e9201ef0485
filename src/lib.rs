//! A proxy that speaks the Ollama API to unmodified Ollama clients and forwards to any OpenAI-compatible backend.
//!
//! # The house
//!
//! ```text
//!   floor 3   proxy      sockets and time (feature `net`)          config, log
//!   floor 2   translate  one dialect to the other: pure
//!   floor 1   ollama     what clients say and read    openai       what backends say and read
//!   floor 0   wire       event streams, JSON texts, JSON lines: bytes only
//! ```
//! Arrows point down only, and `tests/layers.rs` holds them there. Floors 0 to 2 know no socket, no clock and no
//! environment: time comes in as an argument, bytes come in cut anywhere, and lines are appended to a buffer.
//!
//! # The life of one request
//!
//! ```text
//!  Ollama client                                                                OpenAI-compatible backend
//!    │ POST /api/chat                                                                          ▲
//!    ▼                                                                                         │
//!  server ─► handler ─► guard ─► Route ─► body (capped) ─► ChatRequest (borrows the body)      │
//!                                                               │ translate::write_chat        │
//!                                                               ▼                              │
//!                                                     RequestWriter ─► BytesMut ─► Upstream ───┘
//!    ┌─────────── TranslatedBody (pulled: no task, no channel) ◄── client::ResponseBody ◄──────────┐
//!    │   one read ─► SseDecoder ─► SseEvent { data: a slice of it }                                │
//!    │                │ TextShape, else ChatCompletionChunk (slices of data)                       │
//!    │                ▼                                                                            │
//!    │   StreamTranslator: Opening ► Answering ► Finishing ► Done                                  │
//!    │                │ Output, LineHead, JsonWriter (text copied once, escaped as it came)        │
//!    ▼                ▼                                                                            │
//!  NDJSON lines ◄─ Streaming: one chunk, and one write, for what one read brought                  │
//!    │ the client hangs up: the body is dropped, and with it the backend's connection ─────────────┘
//! ```
//! The 200 goes out with the first line ([`proxy`]'s handler waits for it): what fails before it is a real status with
//! `{"error": "..."}`, what fails behind it is one last line of that form. The last line waits for the usage that
//! backends send behind the finish reason.
//!
//! hyper reads the requests and writes whole answers and heads. Where an answer comes line by line the connection is taken
//! out of its hands until the last line is written (`proxy/client_io.rs`), and towards the backend it is not used at all
//! (`proxy/client/`): a stream then holds no buffer, only its place between two sockets.
//!
//! A request for `/v1/...` is in the backend's own words already: it takes a shorter way, through `proxy/pass.rs`, on which
//! only the model's name is touched.
//!
//! # Where to look
//!
//! A quirk of what backends *send* is a case in [`openai::ChatCompletionChunk`] or in the tool calls of [`translate`];
//! what they *take* is a row of [`openai::Dialect`]. What clients read is laid in [`ollama`], to the byte. A status is
//! chosen in one table, `proxy/error.rs`. A setting is a row of [`config::SETTINGS`].

#[cfg(feature = "net")]
pub mod config;
#[cfg(feature = "net")]
pub mod log;
pub mod ollama;
pub mod openai;
#[cfg(feature = "net")]
pub mod proxy;
pub mod translate;
pub mod wire;
