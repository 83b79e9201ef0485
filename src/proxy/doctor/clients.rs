//! The table of clients: which probes each needs, and which only some of its features need.

use super::probe::{self, Probe};

/// A client, and what it asks on its way to an answer.
pub(super) struct Client {
    pub(super) name: &'static str,
    /// Without these it does not work, with whatever model.
    pub(super) server: &'static [&'static Probe],
    /// Without these it does not work with a model that writes.
    pub(super) needs: &'static [&'static Probe],
    /// Without these it works with less.
    pub(super) wants: &'static [&'static Probe],
    /// Whether it asks embedding models for vectors.
    pub(super) embeds: bool,
    /// Whether it can be given a key to show, where clients must show one.
    pub(super) sends_key: bool,
}

pub(super) static CLIENTS: &[Client] = &[
    Client {
        name: "ollama (command)",
        server: &[&probe::ALIVE, &probe::VERSION, &probe::TAGS, &probe::RUNNING],
        needs: &[&probe::SHOW_BY_NAME, &probe::LOAD, &probe::GENERATE, &probe::CHAT],
        wants: &[],
        embeds: false,
        sends_key: false,
    },
    Client {
        name: "ollama (Python)",
        server: &[&probe::TAGS, &probe::RUNNING],
        needs: &[&probe::SHOW, &probe::CHAT_WHOLE, &probe::CHAT],
        wants: &[&probe::TOOL_CALL, &probe::TOOL_RESULT, &probe::SCHEMA],
        embeds: true,
        sends_key: true,
    },
    Client {
        name: "ollama (JavaScript)",
        server: &[&probe::TAGS, &probe::RUNNING],
        needs: &[&probe::SHOW, &probe::CHAT_WHOLE, &probe::CHAT],
        wants: &[&probe::TOOL_CALL, &probe::TOOL_RESULT, &probe::SCHEMA],
        embeds: true,
        sends_key: true,
    },
    Client {
        name: "LangChain",
        server: &[&probe::TAGS],
        needs: &[&probe::CHAT_COUNTED],
        wants: &[&probe::TOOL_CALL, &probe::TOOL_RESULT, &probe::SCHEMA],
        embeds: true,
        sends_key: true,
    },
    Client {
        name: "Open WebUI",
        server: &[&probe::VERSION, &probe::TAGS, &probe::RUNNING],
        needs: &[&probe::CHAT_TAGGED],
        wants: &[&probe::TOOL_CALL, &probe::TOOL_RESULT],
        embeds: true,
        sends_key: true,
    },
    Client {
        name: "Home Assistant",
        server: &[&probe::TAGS],
        needs: &[&probe::CHAT_ASSIST],
        wants: &[&probe::TOOL_CALL, &probe::TOOL_RESULT],
        embeds: false,
        sends_key: true,
    },
    Client {
        name: "VS Code",
        server: &[&probe::VERSION, &probe::TAGS],
        needs: &[&probe::SHOW, &probe::OPENAI_CHAT],
        wants: &[&probe::SAYS_TOOLS, &probe::SAYS_CONTEXT],
        embeds: false,
        sends_key: false,
    },
    Client {
        name: "Zed",
        server: &[&probe::TAGS],
        needs: &[&probe::SHOW, &probe::CHAT],
        wants: &[&probe::SAYS_TOOLS, &probe::SAYS_CONTEXT, &probe::TOOL_CALL, &probe::TOOL_RESULT],
        embeds: false,
        sends_key: true,
    },
    Client {
        name: "n8n",
        server: &[&probe::TAGS],
        needs: &[&probe::CHAT],
        wants: &[&probe::TOOL_CALL, &probe::TOOL_RESULT],
        embeds: true,
        sends_key: true,
    },
    Client {
        name: "uptime probes",
        server: &[&probe::ALIVE, &probe::GREETING],
        needs: &[],
        wants: &[],
        embeds: false,
        sends_key: true,
    },
];
