//! [`examine`]: chooses the models, asks each question once, and tells every client what came of its own.

use super::call::{Caller, Heard};
use super::clients::{CLIENTS, Client};
use super::judge::capabilities;
use super::probe::{self, Finding, Probe, Verdict};
use super::report::{Asked, Report, Row};
use simd_json::prelude::*;
use std::collections::HashMap;

/// Models asked when none is named: two that write and one that embeds show what a backend can do, and cost little.
const MAX_WRITING: usize = 2;
const MAX_EMBEDDING: usize = 1;
/// How many of a long list are looked at for that.
const MAX_LOOKED_AT: usize = 20;

/// What a model is for, as `/api/show` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Writes,
    Embeds,
}

struct Examination<'a> {
    caller: &'a Caller,
    /// By path and body: clients that ask the same are told the same.
    heard: HashMap<(&'static str, &'static str, String), Result<Heard, String>>,
    asked: Vec<Asked>,
}

/// Plays every client against the proxy, with these models, or with the first ones it lists.
pub(crate) async fn examine(caller: &Caller, models: &[String]) -> Report {
    let mut examination = Examination { caller, heard: HashMap::new(), asked: Vec::new() };
    let listed = examination.listed().await;
    let chosen = match models {
        [] => examination.choose(&listed).await,
        named => examination.kinds(named).await,
    };
    let mut rows = Vec::new();
    for client in CLIENTS {
        let mut server = examination.all(client.server, "").await;
        if caller.shows_key() && !client.sends_key {
            server.push(Verdict::Fails(Finding {
                why: "clients must show the key of PROXY_API_KEY, and this one sends none".to_owned(),
                way_out: Some("listen on loopback without PROXY_API_KEY, for the clients of this machine"),
            }));
        }
        let row = || Row::new(client.name, &server);
        if client.needs.is_empty() || chosen.is_empty() {
            rows.push(row());
            continue;
        }
        for (model, kind) in &chosen {
            rows.push(match examination.with_model(client, model, *kind).await {
                Some(found) => row().with_model(model, &found),
                None => Row::not_for(client.name, model),
            });
        }
    }
    let models = chosen.into_iter().map(|(model, _)| model).collect();
    Report { models, listed: listed.len(), rows, asked: examination.asked }
}

impl Examination<'_> {
    /// What a client finds with this model; `None` when it has no use for such a model.
    async fn with_model(&mut self, client: &Client, model: &str, kind: Kind) -> Option<Vec<Verdict>> {
        if kind == Kind::Embeds {
            return match client.embeds {
                true => Some(self.all(&[&probe::EMBED], model).await),
                false => None,
            };
        }
        let needs = self.all(client.needs, model).await;
        let wants = self.all(client.wants, model).await;
        let wants = wants.into_iter().map(|verdict| match verdict {
            Verdict::Fails(finding) => Verdict::Partly(finding),
            other => other,
        });
        Some(needs.into_iter().chain(wants).collect())
    }

    async fn all(&mut self, probes: &[&'static Probe], model: &str) -> Vec<Verdict> {
        let mut found = Vec::new();
        for probe in probes {
            found.push(self.ask(probe, model).await);
        }
        found
    }

    async fn ask(&mut self, probe: &'static Probe, model: &str) -> Verdict {
        let verdict = probe.judged(self.hear(probe, model).await);
        let asked = Asked { probe: probe.name, model: model.to_owned(), verdict: verdict.clone() };
        if !self.asked.contains(&asked) {
            self.asked.push(asked);
        }
        verdict
    }

    async fn hear(&mut self, probe: &'static Probe, model: &str) -> &Result<Heard, String> {
        let body = probe.body(model);
        let key = (probe.method, probe.path, body.clone());
        if !self.heard.contains_key(&key) {
            let heard = self.caller.call(probe.method, probe.path, body).await;
            self.heard.insert(key.clone(), heard);
        }
        self.heard.entry(key).or_insert_with(|| Err("it was not asked".to_owned()))
    }

    async fn listed(&mut self) -> Vec<String> {
        let tags = self.hear(&probe::TAGS, "").await.as_ref().ok().and_then(|heard| heard.object().ok());
        let models = tags.as_ref().and_then(|tags| tags.get_array("models"));
        let names = models.into_iter().flatten().filter_map(|model| model.get_str("name"));
        names.map(str::to_owned).collect()
    }

    async fn choose(&mut self, listed: &[String]) -> Vec<(String, Kind)> {
        let (mut writing, mut embedding) = (Vec::new(), Vec::new());
        for model in listed.iter().take(MAX_LOOKED_AT) {
            let kind = self.kind(model).await;
            let (kept, most) = match kind {
                Kind::Writes => (&mut writing, MAX_WRITING),
                Kind::Embeds => (&mut embedding, MAX_EMBEDDING),
            };
            if kept.len() < most {
                kept.push((model.clone(), kind));
            }
            if writing.len() == MAX_WRITING && embedding.len() == MAX_EMBEDDING {
                break;
            }
        }
        writing.extend(embedding);
        writing
    }

    async fn kinds(&mut self, named: &[String]) -> Vec<(String, Kind)> {
        let mut kinds = Vec::new();
        for model in named {
            let kind = self.kind(model).await;
            kinds.push((model.clone(), kind));
        }
        kinds
    }

    async fn kind(&mut self, model: &str) -> Kind {
        let shown = self.hear(&probe::SHOW, model).await.as_ref().ok().and_then(|heard| heard.object().ok());
        match shown {
            Some(shown)
                if capabilities(&shown).any(|name| name == "embedding")
                    && !capabilities(&shown).any(|name| name == "completion") =>
            {
                Kind::Embeds
            }
            _ => Kind::Writes,
        }
    }
}

/// The worst of what was found, with every reason once.
pub(super) fn summed(found: &[Verdict]) -> (Worth, Vec<Finding>) {
    let (mut worth, mut reasons) = (Worth::Yes, Vec::new());
    for verdict in found {
        let (this, finding) = match verdict {
            Verdict::Works => continue,
            Verdict::Partly(finding) => (Worth::Partly, finding),
            Verdict::Fails(finding) => (Worth::No, finding),
        };
        worth = worth.max(this);
        if !reasons.contains(finding) {
            reasons.push(finding.clone());
        }
    }
    (worth, reasons)
}

/// Whether a client works, from good to bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Worth {
    /// It has no use for the model.
    NotFor,
    Yes,
    Partly,
    No,
}
