//! A comparison as one HTML page: everything in it, nothing fetched, no scripts.

use std::fmt::{self, Write};

use super::report::{Comparison, Measured, Range, Ratio, Report, Verdict};
use crate::html::CSS;
use crate::plot::escape;

/// Beside those of every page. A bar is made of its processes, in the order of their names.
const STYLE: &str = "\
body { max-width: 64rem; }
th, td { padding: .25rem .6rem; }
.cost { width: 14rem; }
.cost i { display: inline-block; height: .8rem; background: currentColor; vertical-align: middle; }
.p1 { color: var(--s1); } .p2 { color: var(--s2); } .p3 { color: var(--s3); } .p4 { color: var(--s4); }
.p5 { color: var(--s5); }
.of { text-align: left; }
td:first-child { font-weight: 600; }
details { margin: .6rem 0; }
summary { cursor: pointer; }
";
/// Processes that have a colour of their own.
const COLOURS: usize = 5;

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
         <title>Ours and its peers by CPU time</title>\n<style>\n{CSS}{STYLE}</style>\n</head>\n<body>\n\
         <h1>Ours and its peers by CPU time</h1>\n\
         <p class=\"soft\">In turns on one machine, the same requests or the same topic for all, each to the same \
         state: {}.</p>\n",
        escape(&report.machine.to_string())
    )?;
    if report.short {
        out.push_str("<p class=\"bad\">Too short to judge a bar by: every side reached its state, no more is said.</p>\n");
    }
    tiles(out, report)?;
    report.comparisons.iter().try_for_each(|comparison| section(out, comparison))?;
    out.push_str("<h2>What each side is</h2>\n");
    for (Measured { about, .. }, names) in report.sides() {
        writeln!(
            out,
            "<details><summary><b>{}</b> in {}: {}; until {}</summary>\n<p class=\"soft\">{}</p>\n\
             <pre>{}</pre></details>",
            about.name,
            names.join(", "),
            escape(about.does),
            about.state,
            escape(&about.version),
            escape(&about.settings.join("\n"))
        )?;
    }
    out.push_str("<h2>How it was measured</h2>\n");
    report.method.iter().try_for_each(|sentence| writeln!(out, "<p>{}</p>", escape(sentence)))?;
    writeln!(out, "<h2>All figures</h2>\n<pre>{}</pre>\n</body>\n</html>", escape(&report.to_string()))
}

fn tiles(out: &mut String, report: &Report) -> fmt::Result {
    let with_bars = |comparison: &Comparison| {
        let name = comparison.name;
        let barred = comparison.ratios.iter().filter(|ratio| ratio.at_most.is_some());
        barred.map(|ratio| (name, ratio.clone())).collect::<Vec<_>>()
    };
    out.push_str("<div class=\"tiles\">\n");
    for (name, ratio) in report.comparisons.iter().flat_map(with_bars) {
        let figure = ratio.ratio.map_or("not known".to_owned(), |ratio| format!("{:.2}", ratio.median));
        let at_most = ratio.at_most.unwrap_or_default();
        writeln!(
            out,
            "<div><b class=\"{}\">{figure}</b><span>of {}'s CPU time in {name}; bar: at most {at_most:.2}</span></div>",
            class(ratio.verdict),
            ratio.to
        )?;
    }
    out.push_str("</div>\n");
    Ok(())
}

fn section(out: &mut String, comparison: &Comparison) -> fmt::Result {
    let Comparison { name, does, unit, sides, ratios, missing, .. } = comparison;
    writeln!(
        out,
        "<h2>{name}: {}</h2>\n<p class=\"soft\">Median and range of {}; microseconds of CPU time for each {unit}.</p>",
        escape(does),
        escape(&comparison.rounds())
    )?;
    let most = sides.iter().filter_map(|side| side.cpu_us).map(|range| range.median).fold(0.0, f64::max);
    out.push_str(
        "<div class=\"scroll\"><table>\n<tr><th></th><th class=\"of\">by process</th><th>µs</th><th>range</th>\
         <th>ours is of it</th><th>range</th><th>bar</th></tr>\n",
    );
    for side in sides {
        let ratio = ratios.iter().find(|ratio| ratio.to == side.about.name);
        row(out, side, ratio, most)?;
    }
    for (name, why) in missing {
        let unjudged = ratios.iter().any(|ratio| ratio.to == *name && ratio.verdict == Verdict::Unjudged);
        writeln!(
            out,
            "<tr><td>{name}</td><td class=\"of bad\" colspan=\"6\">missing: {}{}</td></tr>",
            escape(why),
            if unjudged { "; its bar is not judged" } else { "" }
        )?;
    }
    out.push_str("</table></div>\n");
    for why in &comparison.rounds_starved {
        writeln!(out, "<p class=\"soft\">Thrown out: {}</p>", escape(why))?;
    }
    Ok(())
}

fn row(out: &mut String, side: &Measured, ratio: Option<&Ratio>, most: f64) -> fmt::Result {
    write!(out, "<tr><td>{}</td><td class=\"of cost\">", side.about.name)?;
    for (at, us) in side.cpu_us_by_process.values().enumerate() {
        // Of the column's width.
        let share = us / most.max(f64::MIN_POSITIVE) * 95.0;
        write!(out, "<i class=\"p{}\" style=\"width:{share:.1}%\"></i>", at % COLOURS + 1)?;
    }
    out.push_str("<br>");
    for (at, (name, us)) in side.cpu_us_by_process.iter().enumerate() {
        write!(out, "<small class=\"p{}\">{} {us:.2}</small> ", at % COLOURS + 1, escape(name))?;
    }
    let cells = |range: Option<Range>| match range {
        Some(Range { median, min, max }) => {
            format!("<td>{median:.2}</td><td class=\"soft\">{min:.2} to {max:.2}</td>")
        }
        None => "<td colspan=\"2\" class=\"bad\">no round counts</td>".to_owned(),
    };
    write!(out, "</td>{}", cells(side.cpu_us))?;
    match ratio {
        None => out.push_str("<td></td><td></td><td></td>"),
        Some(ratio) => {
            let bar = ratio.at_most.map_or(String::new(), |at_most| format!("at most {at_most:.2}"));
            write!(
                out,
                "{}<td class=\"{}\">{bar}{}</td>",
                cells(ratio.ratio),
                class(ratio.verdict),
                ratio.verdict.word().map_or(String::new(), |word| format!(": {word}"))
            )?;
        }
    }
    out.push_str("</tr>\n");
    Ok(())
}

fn class(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Held => "good",
        Verdict::Missed | Verdict::Unjudged => "bad",
        Verdict::None => "soft",
    }
}
