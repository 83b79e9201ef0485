//! [`Report`]: what was found, as a table for people or an object for machines.

use super::examine::{Worth, summed};
use super::probe::{Finding, Verdict};
use simd_json::prelude::*;
use simd_json::{OwnedValue, json};
use std::fmt::Write as _;

/// The widest a column of the table gets; a longer name of a model is cut in the middle.
const MAX_COLUMN: usize = 28;
/// The narrowest: `partly` and two numbers of reasons.
const MIN_COLUMN: usize = 13;

/// Everything that was found.
#[derive(Debug)]
pub(crate) struct Report {
    /// The models that were asked, in the order of the columns.
    pub(super) models: Vec<String>,
    /// How many models the backend lists.
    pub(super) listed: usize,
    pub(super) rows: Vec<Row>,
    pub(super) asked: Vec<Asked>,
}

/// One client with one model; without a model, what it finds on the server.
#[derive(Debug)]
pub(super) struct Row {
    client: &'static str,
    model: Option<String>,
    worth: Worth,
    reasons: Vec<Reason>,
}

/// What was found, and with which model; without one it is about the server.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Reason {
    finding: Finding,
    model: Option<String>,
}

/// One probe and what came of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) probe: &'static str,
    /// Empty for a probe that names none.
    pub(super) model: String,
    pub(super) verdict: Verdict,
}

impl Row {
    /// What the client finds on the server.
    pub(super) fn new(client: &'static str, server: &[Verdict]) -> Self {
        let (worth, findings) = summed(server);
        let reasons = findings.into_iter().map(|finding| Reason { finding, model: None }).collect();
        Row { client, model: None, worth, reasons }
    }

    /// The same with a model.
    pub(super) fn with_model(self, model: &str, found: &[Verdict]) -> Self {
        let (worth, findings) = summed(found);
        let of_model = |finding| Reason { finding, model: Some(model.to_owned()) };
        let reasons = self.reasons.into_iter().chain(findings.into_iter().map(of_model)).collect();
        Row { model: Some(model.to_owned()), worth: self.worth.max(worth), reasons, ..self }
    }

    pub(super) fn not_for(client: &'static str, model: &str) -> Self {
        Row { client, model: Some(model.to_owned()), worth: Worth::NotFor, reasons: Vec::new() }
    }
}

impl Worth {
    fn word(self) -> &'static str {
        match self {
            Worth::NotFor => "-",
            Worth::Yes => "yes",
            Worth::Partly => "partly",
            Worth::No => "no",
        }
    }

    /// As the JSON object has it.
    fn name(self) -> &'static str {
        match self {
            Worth::NotFor => "not-for-this-model",
            _ => self.word(),
        }
    }

    fn colour(self) -> &'static str {
        match self {
            Worth::NotFor => "2",
            Worth::Yes => "32",
            Worth::Partly => "33",
            Worth::No => "31",
        }
    }
}

impl Report {
    /// How many clients will not work, counted with each model, or why nothing could be asked; `None` when all is well.
    pub(crate) fn complaint(&self) -> Option<String> {
        let pairs = self.rows.iter().filter(|row| row.worth != Worth::NotFor).count();
        match self.rows.iter().filter(|row| row.worth == Worth::No).count() {
            0 => None,
            failing => Some(format!("{failing} of {pairs} will not work")),
        }
    }

    /// The table, and below it each reason with the clients it is about.
    pub(crate) fn table(&self, backend: &str, colour: bool) -> String {
        let (listed, asked) = (self.listed, self.models.len());
        let mut out = format!("Backend {backend}: models listed: {listed}, asked: {asked}.\n\n");
        let reasons = self.reasons();
        let first = self.rows.iter().map(|row| row.client.len()).max().unwrap_or(0);
        let columns: Vec<String> = self.models.iter().map(|model| shortened(model)).collect();
        let _ = writeln!(out, "{}", format!("{:first$}  {}", "", columns.join("  ")).trim_end());
        for cells in self.rows.chunk_by(|a, b| a.client == b.client) {
            let client = cells.first().map_or("", |row| row.client);
            let mut line = format!("{client:first$}");
            for (at, cell) in cells.iter().enumerate() {
                let width = columns.get(at).map_or(0, |column| column.chars().count());
                let _ = write!(line, "  {}", cell.shown(&reasons, width, colour));
            }
            let _ = writeln!(out, "{}", line.trim_end());
        }
        for (at, reason) in reasons.iter().enumerate() {
            let about = reason.model.as_ref().map_or(String::new(), |model| format!("{model}: "));
            let _ = writeln!(out, "\n[{}] {about}{}", at + 1, reason.finding.why);
            if let Some(way_out) = reason.finding.way_out {
                let _ = writeln!(out, "    -> {way_out}");
            }
        }
        if listed > asked {
            out.push_str("\nTo ask other models, name them: ollama-openai-proxy doctor MODEL...\n");
        }
        out
    }

    /// Every reason once, in the order of the table.
    fn reasons(&self) -> Vec<&Reason> {
        let mut reasons: Vec<&Reason> = Vec::new();
        for reason in self.rows.iter().flat_map(|row| &row.reasons) {
            if !reasons.contains(&reason) {
                reasons.push(reason);
            }
        }
        reasons
    }

    /// One JSON object.
    pub(crate) fn json(&self, backend: &str) -> String {
        let told = |finding: &Finding| json!({"why": finding.why.as_str(), "way_out": finding.way_out});
        let clients = self.rows.iter().map(|row| {
            json!({
                "client": row.client,
                "model": row.model.as_deref(),
                "works": row.worth.name(),
                "reasons": row.reasons.iter().map(|reason| told(&reason.finding)).collect::<OwnedValue>(),
            })
        });
        let probes = self.asked.iter().map(|asked| {
            let (worth, findings) = summed(std::slice::from_ref(&asked.verdict));
            json!({
                "probe": asked.probe,
                "model": (!asked.model.is_empty()).then_some(asked.model.as_str()),
                "works": worth.name(),
                "reasons": findings.iter().map(told).collect::<OwnedValue>(),
            })
        });
        let object = json!({
            "backend": backend,
            "ok": self.complaint().is_none(),
            "models_listed": self.listed,
            "models_asked": self.models.iter().map(String::as_str).map(OwnedValue::from).collect::<OwnedValue>(),
            "clients": clients.collect::<OwnedValue>(),
            "probes": probes.collect::<OwnedValue>(),
        });
        object.encode()
    }
}

impl Row {
    /// A cell of the table: a word and the numbers of its reasons, padded before it is coloured.
    fn shown(&self, reasons: &[&Reason], width: usize, colour: bool) -> String {
        let numbers = reasons.iter().enumerate().filter(|(_, reason)| self.reasons.contains(reason));
        let numbers: String = numbers.map(|(at, _)| format!("[{}]", at + 1)).collect();
        let text = format!("{} {numbers}", self.worth.word());
        let text = format!("{:width$}", text.trim_end());
        match colour {
            true => format!("\u{1b}[{}m{text}\u{1b}[0m", self.worth.colour()),
            false => text,
        }
    }
}

/// A name that fits its column: a long one loses its middle, since families and sizes stand at the ends.
fn shortened(name: &str) -> String {
    let characters: Vec<char> = name.chars().collect();
    if characters.len() <= MAX_COLUMN {
        return format!("{name:MIN_COLUMN$}");
    }
    let half = (MAX_COLUMN - 1) / 2;
    let (start, end) = (characters.iter().take(half), characters.iter().skip(characters.len() - half));
    start.chain(&['…']).chain(end).collect()
}
