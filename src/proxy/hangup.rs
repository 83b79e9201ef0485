//! SIGHUP: the model map is read again. Requests that run keep the models they began with, and no connection is
//! touched; a map that is wrong anywhere is refused, and the one before it stays.

use super::app::App;
use crate::config;
use std::io;
use std::path::Path;
use tokio::signal::unix::Signal;

/// Reads the map again whenever the signal comes; without a map nothing does that.
pub(super) async fn read_map_again(app: &App, mut models: config::Models, hangup: Option<Signal>) {
    let Some(mut hangup) = hangup else { return std::future::pending().await };
    // `None` would mean that no signal comes any more.
    while hangup.recv().await.is_some() {
        match models.with_map_read_again(read_at_once) {
            Ok((new, warnings)) => {
                for warning in warnings {
                    tracing::warn!("{warning}");
                }
                app.models.set(super::app::model_settings(&new));
                tracing::info!(aliases = new.aliases.len(), "the model map was read again");
                models = new;
            }
            Err(faults) => {
                for fault in &faults {
                    tracing::error!("the model map is refused, and the one before it stays: {fault}");
                }
            }
        }
    }
    std::future::pending().await
}

/// What is in a file that has its text at hand. The wait for a pipe would hold up every request.
fn read_at_once(path: &Path) -> io::Result<Vec<u8>> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    config::read_file(path)
}
