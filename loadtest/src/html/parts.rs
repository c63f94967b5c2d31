//! The parts of tables over time.

use std::fmt::{self, Write};

use super::{highest, looked, over_time};
use crate::parts::{Growth, LEVEL};
use crate::plot::{Axis, Line, escape, number};
use crate::report::Report;

/// Lines that a plot has styles for.
const LINES_MAX: usize = 5;

/// The section; nothing when no look has shown a table that grew.
pub(super) fn section(out: &mut String, report: &Report) -> fmt::Result {
    if report.parts.is_empty() {
        return Ok(());
    }
    super::section(
        out,
        "Parts over time",
        "What ClickHouse has each table in. Inserts make parts, merges make one of many: more and more of them means \
         that merges do not keep up.",
    )?;
    plot(out, report);
    table(out, &report.parts)
}

fn plot(out: &mut String, report: &Report) {
    let mut tables: Vec<&Growth> = report.parts.iter().collect();
    tables.sort_by_key(|growth| std::cmp::Reverse(growth.active_max));
    tables.truncate(LINES_MAX);
    let line = |growth: &&Growth| Line {
        name: growth.table.clone(),
        points: report
            .timeline
            .samples
            .iter()
            .map(|sample| {
                let parts = sample.parts.as_ref().and_then(|tables| tables.get(&growth.table));
                (sample.at_seconds, parts.map_or(f64::NAN, |parts| parts.active as f64))
            })
            .collect(),
    };
    let lines: Vec<Line> = tables.iter().map(line).collect();
    let high = lines.iter().map(|line| highest(&line.points)).fold(0.0, f64::max);
    let y = Axis::linear("active parts", high);
    out.push_str(&over_time(report, looked(report), y, lines, "active parts of each table over time"));
}

fn table(out: &mut String, grown: &[Growth]) -> fmt::Result {
    out.push_str(
        "<div class=\"scroll\"><table>\n<tr><th>active parts</th><th>start</th><th>quarter</th><th>half</th>\
         <th>end</th><th>most</th><th>merges at most</th><th>new per second</th><th>second quarter</th>\
         <th>last quarter</th><th></th></tr>\n",
    );
    for growth in grown {
        let Growth { active_at_start, active_at_quarter, active_at_half, active_at_end, .. } = growth;
        let counts = [
            active_at_start,
            active_at_quarter,
            active_at_half,
            active_at_end,
            &growth.active_max,
            &growth.merging_max,
        ];
        write!(out, "<tr><td>{}</td>", escape(&growth.table))?;
        for count in counts {
            write!(out, "<td>{}</td>", number(*count as f64))?;
        }
        write!(out, "<td>{:.2}</td>", growth.new_per_second)?;
        match growth.level {
            Some(level) => writeln!(
                out,
                "<td>{}</td><td>{}</td><td>{}</td></tr>",
                number(level.second_quarter),
                number(level.last_quarter),
                if level.is_flat { "flat" } else { "growing" }
            )?,
            None => writeln!(out, "<td></td><td></td><td>too few looks</td></tr>")?,
        }
    }
    writeln!(out, "</table></div>\n<p class=\"soft\">{LEVEL}.</p>")
}
