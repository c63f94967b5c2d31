//! What came out of the pipeline as one HTML page: everything in it, nothing fetched, no scripts.

use std::fmt::{self, Write};

use super::pipeline::report::{Report, Tenth, WorldReport};
use super::score::ESTIMATOR;
use crate::html::CSS;
use crate::plot::{Axis, Line, Plot, Scale, escape, number};

/// Sizes of the bars, in the drawing's own units.
const WIDTH: f64 = 760.0;
const NAMES: f64 = 250.0;
const VALUES: f64 = 165.0;
const ROW: f64 = 24.0;

/// Beside those of every page. The seeds' range is drawn over the bar of their mean.
const STYLE: &str = "\
.bars text { fill: var(--text); }
.bars .soft { fill: var(--soft); }
.bar { fill: var(--soft); opacity: .45; }
.bar.ours { fill: var(--s1); opacity: 1; }
.bar.best { fill: var(--s3); opacity: .35; }
.range { stroke: var(--text); stroke-width: 1.5; fill: none; }
";

/// The page.
pub fn page(report: &Report) -> String {
    let mut out = String::new();
    write_page(&mut out, report).expect("writing to a String does not fail");
    out
}

fn write_page(out: &mut String, report: &Report) -> fmt::Result {
    write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Send times against the truth</title>\n<style>\n{CSS}{STYLE}</style>\n</head>\n<body>\n\
         <h1>Send times against the truth</h1>\n\
         <p class=\"soft\">Simulated people whose habits are known. Their history went through the whole pipeline: \
         import, journal, verdicts, ClickHouse, <code>send-time --all</code>. Each method names an hour for everyone; \
         the truth says how likely mail sent then is opened within an hour.</p>\n"
    )?;
    for world in &report.worlds {
        world_section(out, world)?;
    }
    calibration(out, report)?;
    writeln!(out, "<h2>All figures</h2>\n<pre>{}</pre>\n</body>\n</html>", escape(&report.to_string()))
}

fn world_section(out: &mut String, world: &WorldReport) -> fmt::Result {
    let seeds: Vec<String> = world.seeds.iter().map(|piped| piped.score.seed.to_string()).collect();
    let events: u64 = world.seeds.iter().map(|piped| piped.events).sum();
    writeln!(
        out,
        "<h2>World {}</h2>\n<p class=\"soft\">{} people for each of the seeds {}; {} events. Bars are means, the \
         line across is from the least to the most of the seeds.</p>",
        escape(&world.world),
        number(world.seeds[0].score.people as f64),
        seeds.join(", "),
        number(events as f64)
    )?;
    tiles(out, world)?;
    bars(out, world)
}

fn tiles(out: &mut String, world: &WorldReport) -> fmt::Result {
    let held = |name: &str| match world.bars.iter().find(|bar| bar.name == name) {
        None => ("", String::new()),
        Some(bar) => {
            // The one that may not be more is in points, as its figure is.
            let limit = match bar.at_least {
                true => format!(", at least {:.2}", bar.limit),
                false => format!(", at most {:.0} points", bar.limit * 100.0),
            };
            (if bar.is_held() { "good" } else { "bad" }, limit)
        }
    };
    let verdicts = world.verdicts();
    let known = verdicts.machines_known as f64 / verdicts.machines.max(1) as f64;
    let refused: usize = world.refused().values().sum();
    let off =
        world.calibration_off.map_or("not known".to_owned(), |off| format!("{:.1} points", off * 100.0));
    out.push_str("<div class=\"tiles\">\n");
    for (bar, figure, about) in [
        ("over most frequent hour", format!("{:.2} ×", world.over_most_frequent), "the most frequent hour"),
        ("over best histogram", format!("{:.2} ×", world.over_best_histogram), "the best histogram"),
        ("confidence from 0.7 on, off the truth", off, "confidence off the truth, worst tenth from 0.7"),
        ("", format!("{:.1} %", known * 100.0), "of machines' requests known as such"),
        ("", number(refused as f64), "people refused"),
    ] {
        let (class, limit) = held(bar);
        writeln!(out, "<div><b class=\"{class}\">{figure}</b><span>{about}{limit}</span></div>")?;
    }
    out.push_str("</div>\n");
    Ok(())
}

fn bars(out: &mut String, world: &WorldReport) -> fmt::Result {
    let most = world.methods.iter().map(|method| method.range[1]).fold(f64::MIN_POSITIVE, f64::max);
    let x = |value: f64| NAMES + value / most * (WIDTH - NAMES - VALUES);
    let height = ROW * world.methods.len() as f64 + 8.0;
    writeln!(
        out,
        "<div class=\"scroll\"><svg class=\"plot bars\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" \
         aria-label=\"probability of an open within an hour by method\">"
    )?;
    for (at, method) in world.methods.iter().enumerate() {
        let top = ROW * at as f64 + 4.0;
        let (middle, base) = (top + ROW / 2.0, top + ROW / 2.0 + 4.0);
        let class = match method.method.as_str() {
            ESTIMATOR => "ours",
            "best hour of each" => "best",
            _ => "",
        };
        let [least, most] = method.range.map(x);
        let end = x(method.p_open_1h);
        writeln!(
            out,
            "<text x=\"{:.1}\" y=\"{base:.1}\" text-anchor=\"end\">{}</text>\
             <rect class=\"bar {class}\" x=\"{NAMES}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\"/>\
             <path class=\"range\" d=\"M{least:.1} {middle:.1}H{most:.1}M{least:.1} {:.1}v6M{most:.1} {:.1}v6\"/>\
             <text x=\"{:.1}\" y=\"{base:.1}\">{:.2} %</text>\
             <text class=\"soft\" x=\"{WIDTH}\" y=\"{base:.1}\" text-anchor=\"end\">{:.0} % of best</text>",
            NAMES - 8.0,
            escape(method.method.trim()),
            top + 3.0,
            end - NAMES,
            ROW - 6.0,
            middle - 3.0,
            middle - 3.0,
            most + 8.0,
            method.p_open_1h * 100.0,
            method.of_best * 100.0
        )?;
    }
    out.push_str("</svg></div>\n");
    Ok(())
}

fn calibration(out: &mut String, report: &Report) -> fmt::Result {
    writeln!(
        out,
        "<h2>Confidence claimed, and how often it is right</h2>\n<p class=\"soft\">How sure it is said to be that a \
         window beats the hour it is compared with, and the share of windows that do. Tenths of fewer than {CLAIMS_SHOWN} \
         recommendations are left out.</p>"
    )?;
    let points = |tenths: &[Tenth]| {
        let shown = tenths.iter().filter(|tenth| tenth.count >= CLAIMS_SHOWN);
        shown.map(|tenth| (tenth.claimed, tenth.holds)).collect::<Vec<_>>()
    };
    // As many worlds as the page has colours for beside the diagonal.
    let worlds = report.worlds.iter().take(4);
    let worlds = worlds
        .map(|world| Line { name: format!("world {}", world.world), points: points(&world.calibration) });
    let diagonal = Line { name: "as claimed".to_owned(), points: vec![(0.4, 0.4), (1.0, 1.0)] };
    let axis = |label| Axis {
        label,
        from: 0.4,
        to: 1.0,
        scale: Scale::Linear,
        ticks: (4..=10).map(|tenth| (f64::from(tenth) / 10.0, format!("{}0 %", tenth))).collect(),
    };
    let plot = Plot {
        x: axis("confidence"),
        y: axis("share that holds"),
        lines: worlds.chain([diagonal]).collect(),
        shaded: None,
    };
    out.push_str(&plot.svg("confidence claimed and how often it holds"));
    Ok(())
}

/// Fewer claims are scattered too far to be drawn.
const CLAIMS_SHOWN: usize = 100;
