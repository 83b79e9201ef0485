//! The load generator: one run, one JSON object on standard output, or one fault on standard error and exit 1.
//!
//! `perf/README.md` lists the modes and their flags. It calls loopback addresses only and every run has an end.

use perf::args::{Args, free_port};
use perf::{cancel, cold, requests, scenario, slow, streams, tls};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio_rustls::rustls::ClientConfig;

const USAGE: &str = "\
perf-load requests  --address A --api openai|ollama|ollama-0.7 --model M [--connections 1] [--rate 200] [--seconds 2] [--pid P] [--ca PEM]
perf-load live      --address A --api openai|ollama --model M --streams N [--ramp 2000] [--hold 3] [--settle 8] [--pid P] [--mark FILE]
perf-load rate      --address A --api openai|ollama --model M --streams N [--pid P] [--ca PEM]
perf-load slow      --address A --api openai|ollama --model M --streams N --pid P [--hold 3]
perf-load cancel    --address A --backend B --api openai|ollama [--runs 50]
perf-load cold      --address A [--path /] [--runs 50] -- PROGRAM [ARGUMENT...]
perf-load wait      --address A [--path /] [--seconds 10]
perf-load free-port";

const FLAGS: [&str; 16] = [
    "address",
    "backend",
    "runs",
    "api",
    "model",
    "connections",
    "rate",
    "seconds",
    "streams",
    "ramp",
    "hold",
    "settle",
    "pid",
    "path",
    "mark",
    "ca",
];

fn main() -> ExitCode {
    match run() {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(fault) => {
            eprintln!("perf-load: {fault}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<String, String> {
    // A sleep may end 50 us late by default; children and threads inherit the wish for less. Without it sleeps are
    // later, which the `late` figures show.
    let _is_a_wish = std::fs::write("/proc/self/timerslack_ns", "1");
    let mut words = std::env::args().skip(1);
    let mode = words.next().unwrap_or_default();
    let args = Args::parse(words, &FLAGS)?;
    match mode.as_str() {
        "requests" => requests::run(&requests::Plan {
            address: args.address()?,
            api: args.need("api")?,
            model: args.need("model")?,
            connections: args.or("connections", 1)?,
            rate: args.or("rate", 200.0)?,
            duration: seconds(&args, "seconds", 2.0)?,
            pid: args.maybe("pid")?,
            tls: trusted(&args)?,
        }),
        "live" => {
            let (hold, settle) = (seconds(&args, "hold", 3.0)?, seconds(&args, "settle", 8.0)?);
            runtime()?.block_on(streams::live(&plan(&args)?, hold, settle))
        }
        "rate" => runtime()?.block_on(streams::rate(&plan(&args)?)),
        "slow" => slow::run(&slow::Plan {
            address: args.address()?,
            api: args.need("api")?,
            model: args.need("model")?,
            readers: args.need("streams")?,
            hold: seconds(&args, "hold", 3.0)?,
            pid: args.need("pid")?,
        }),
        "cancel" => {
            cancel::run(args.address()?, args.need("backend")?, args.need("api")?, args.or("runs", 50)?)
        }
        "cold" => {
            let path = args.or("path", "/".to_owned())?;
            cold::run(args.address()?, &path, args.or("runs", 50)?, &args.command)
        }
        "wait" => {
            let (path, limit) = (args.or("path", "/".to_owned())?, seconds(&args, "seconds", 10.0)?);
            cold::first_200(args.address()?, &path, limit, None).map(|()| "{\"mode\":\"wait\"}".to_owned())
        }
        "free-port" => free_port().map(|port| port.to_string()),
        _ => Err(format!("{mode:?}: expected a mode\n{USAGE}\nmodels: {}", scenario::FORMS)),
    }
}

fn plan(args: &Args) -> Result<streams::Plan, String> {
    Ok(streams::Plan {
        address: args.address()?,
        api: args.need("api")?,
        model: args.need("model")?,
        streams: args.need("streams")?,
        ramp: args.or("ramp", 2000.0)?,
        pid: args.maybe("pid")?,
        mark: args.maybe("mark")?,
        tls: trusted(args)?,
    })
}

fn trusted(args: &Args) -> Result<Option<Arc<ClientConfig>>, String> {
    args.maybe::<String>("ca")?.map(|path| tls::trusting(&path)).transpose()
}

fn runtime() -> Result<tokio::runtime::Runtime, String> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| format!("runtime: {e}"))
}

fn seconds(args: &Args, name: &str, default: f64) -> Result<Duration, String> {
    let value = args.or(name, default)?;
    let is_sane = (0.0..=600.0).contains(&value);
    if is_sane {
        Ok(Duration::from_secs_f64(value))
    } else {
        Err(format!("--{name}: expected 0 to 600 seconds"))
    }
}
