//! `loadtest`: see the library for what it does, `loadtest run --help` for how.

use std::fmt::Display;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use loadtest::find_max::Step;
use loadtest::options::{Cli, Command, RunOptions};
use loadtest::run;
use serde::Serialize;

/// The measurement says nothing about the server.
const INVALID: u8 = 3;

fn main() -> ExitCode {
    let Command::Run(options) = Cli::parse().command;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ended =
        runtime.context("failed to start a runtime").and_then(|runtime| runtime.block_on(go(&options)));
    ended.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

async fn go(options: &RunOptions) -> anyhow::Result<ExitCode> {
    options.check()?;
    if options.find_max {
        let aside = options.json.as_deref() == Some(Path::new("-"));
        let show = |step: &Step| if aside { eprintln!("{step}") } else { println!("{step}") };
        let report = run::find_max(options, show).await?;
        publish(options, &report)?;
        return Ok(match (report.rate_held, report.steps.iter().any(|step| step.valid)) {
            (Some(_), _) => ExitCode::SUCCESS,
            (None, true) => ExitCode::FAILURE,
            (None, false) => ExitCode::from(INVALID),
        });
    }
    let report = run::run(options).await?;
    publish(options, &report)?;
    Ok(match (report.rows_are_right(), report.valid) {
        (false, _) => ExitCode::FAILURE,
        (true, false) => ExitCode::from(INVALID),
        (true, true) => ExitCode::SUCCESS,
    })
}

fn publish(options: &RunOptions, report: &(impl Display + Serialize)) -> anyhow::Result<()> {
    let Some(file) = &options.json else {
        print!("{report}");
        return Ok(());
    };
    let json = serde_json::to_string_pretty(report).context("failed to write the report as JSON")?;
    if file == Path::new("-") {
        eprint!("{report}");
        println!("{json}");
        return Ok(());
    }
    print!("{report}");
    fs::write(file, json + "\n").with_context(|| format!("failed to write {}", file.display()))
}
