//! `loadtest`: see the library for what it does, `loadtest run --help` for how.

use std::fmt::Display;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use loadtest::campaign::CampaignOptions;
use loadtest::compare::options::CompareOptions;
use loadtest::compare::text::Settings;
use loadtest::enrich_cost::EnrichCostOptions;
use loadtest::find_max::Step;
use loadtest::grow::options::GrowOptions;
use loadtest::options::{Cli, Command, RunOptions, SelfCheckOptions};
use loadtest::simulate::{Ran, SimulateOptions};
use loadtest::{
    campaign, compare, drill, enrich_cost, grow, html, instructions, questions, run, self_check, simulate,
};
use serde::Serialize;

/// The measurement says nothing about the server.
const INVALID: u8 = 3;

fn main() -> ExitCode {
    let command = Cli::parse().command;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ended = runtime.context("failed to start a runtime").and_then(|runtime| match command {
        Command::Run(options) => runtime.block_on(go(&options)),
        Command::SelfCheck(options) => runtime.block_on(check(&options)),
        Command::Drill(options) => drill::run(&options),
        Command::Compare(options) => compared(&options),
        Command::Grow(options) => grown(&options),
        Command::DayEdge(options) => compare::day_edge::run(&options).map(|()| ExitCode::SUCCESS),
        Command::Campaign(options) => runtime.block_on(sent(&options)),
        Command::EnrichCost(options) => enrich_cost(&options),
        Command::Instructions(options) => instructions::run(&options),
        Command::Questions(options) => questions::run(&options).and_then(|report| {
            publish(&options.json, &report)?;
            Ok(if report.refreshed.is_some() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }),
        Command::Simulate(options) => simulated(&options),
    });
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
        publish(&options.json, &report)?;
        return Ok(match (report.rate_held, report.steps.iter().any(|step| step.valid)) {
            (Some(_), _) => ExitCode::SUCCESS,
            (None, true) => ExitCode::FAILURE,
            (None, false) => ExitCode::from(INVALID),
        });
    }
    let report = run::run(options).await?.report;
    // The page last: what was measured is shown even when it cannot be written.
    publish(&options.json, &report)?;
    write(options.html.as_deref(), || html::page(&report))?;
    Ok(match (report.rows_are_right(), report.valid) {
        (false, _) => ExitCode::FAILURE,
        (true, false) => ExitCode::from(INVALID),
        (true, true) => ExitCode::SUCCESS,
    })
}

async fn check(options: &SelfCheckOptions) -> anyhow::Result<ExitCode> {
    options.check()?;
    let checked = self_check::run(options).await?;
    let to_stdout = options.json.as_deref() == Some(Path::new("-"));
    if to_stdout {
        eprint!("{checked}")
    } else {
        print!("{checked}")
    }
    if let Some(file) = options.json.as_deref() {
        let json =
            serde_json::to_string_pretty(&checked.report).context("failed to write the report as JSON")?;
        if to_stdout {
            println!("{json}");
        } else {
            write(Some(file), || json + "\n")?;
        }
    }
    write(options.html.as_deref(), || html::page(&checked.report))?;
    Ok(if checked.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn simulated(options: &SimulateOptions) -> anyhow::Result<ExitCode> {
    match simulate::run(options)? {
        Ran::Written => {}
        Ran::Scored(scores, json) => publish(&json, &scores)?,
        Ran::Piped(report, [json, page]) => {
            publish(&json, &*report)?;
            write(page.as_deref(), || simulate::page::page(&report))?;
            report.missed().for_each(|bar| eprintln!("missed: {bar}"));
            if report.missed().next().is_some() {
                return Ok(ExitCode::FAILURE);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn sent(options: &CampaignOptions) -> anyhow::Result<ExitCode> {
    let outcome = campaign::run(options).await?;
    publish(&options.json, &outcome)?;
    Ok(if outcome.is_close() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn compared(options: &CompareOptions) -> anyhow::Result<ExitCode> {
    let report = compare::run(options)?;
    if options.settings {
        print!("{}", Settings(&report));
        return Ok(ExitCode::SUCCESS);
    }
    publish(&options.json, &report)?;
    write(options.html.as_deref(), || compare::page::page(&report))?;
    Ok(report.exit_code())
}

fn grown(options: &GrowOptions) -> anyhow::Result<ExitCode> {
    let report = grow::run(options)?;
    publish(&options.json, &report)?;
    Ok(report.exit_code())
}

fn enrich_cost(options: &EnrichCostOptions) -> anyhow::Result<ExitCode> {
    publish(&options.json, &enrich_cost::run(options)?)?;
    Ok(ExitCode::SUCCESS)
}

fn publish(json: &Option<PathBuf>, report: &(impl Display + Serialize)) -> anyhow::Result<()> {
    let Some(file) = json else {
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
    write(Some(file), || json + "\n")
}

fn write(file: Option<&Path>, text: impl FnOnce() -> String) -> anyhow::Result<()> {
    let Some(file) = file else { return Ok(()) };
    fs::write(file, text()).with_context(|| format!("failed to write {}", file.display()))
}
