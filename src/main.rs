//! The command `ollama-openai-proxy`.

use ollama_openai_proxy::config::{self, Invocation};
use ollama_openai_proxy::{log, proxy};
use std::io::Write;
use std::process::ExitCode;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `EX_USAGE` of BSD's sysexits: the configuration is wrong, and trying again will not help.
const BAD_CONFIGURATION: u8 = 64;

#[expect(clippy::print_stderr, reason = "what a person reads before there is a log")]
fn main() -> ExitCode {
    let arguments = std::env::args_os().skip(1);
    let invocation = config::parse(arguments, |name| std::env::var_os(name), config::read_file);
    let (command, config) = match invocation {
        Ok(Invocation::Run { command, config }) => (command, config),
        Ok(Invocation::Print(text)) => {
            // A reader that has seen enough (`--help | head`) is no failure.
            let _written = writeln!(std::io::stdout(), "{text}");
            return ExitCode::SUCCESS;
        }
        Err(faults) => {
            eprintln!("{faults}");
            return ExitCode::from(BAD_CONFIGURATION);
        }
    };
    if let Err(error) = log::init(&config.log) {
        eprintln!("cannot start the log: {error}");
        return ExitCode::FAILURE;
    }
    match proxy::run(command, *config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
