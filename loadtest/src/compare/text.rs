//! A comparison as text.

use std::fmt;

use super::report::{Comparison, Measured, Range, Ratio, Report, Verdict};

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let machine = &self.machine;
        writeln!(
            f,
            "machine    {} cores of {}, {:.0} GiB, Linux {}",
            machine.cores, machine.processor, machine.memory_gib, machine.kernel
        )?;
        for sentence in &self.method {
            writeln!(f, "method     {sentence}")?;
        }
        for comparison in &self.comparisons {
            write!(f, "\n{comparison}")?;
        }
        writeln!(f, "\nwhat each side is")?;
        let mut shown = Vec::new();
        for Measured { about, .. } in self.comparisons.iter().flat_map(|one| &one.sides) {
            if shown.contains(&about) {
                continue;
            }
            shown.push(about);
            writeln!(f, "  {}: {}; {}", about.name, about.does, about.version)?;
            writeln!(f, "    until {}", about.state)?;
            for setting in &about.settings {
                writeln!(f, "    | {setting}")?;
            }
        }
        if self.short {
            writeln!(f, "\nToo short to judge a bar by: every side reached its state, no more is said.")?;
        }
        Ok(())
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.name, self.does)?;
        write!(f, "  {} rounds", self.rounds_kept)?;
        match self.rounds_starved.len() {
            0 => writeln!(f, ", none thrown out")?,
            count => writeln!(f, ", {count} thrown out because a side was starved")?,
        }
        for why in &self.rounds_starved {
            writeln!(f, "    {why}")?;
        }
        writeln!(f, "  {:<16} {:>34}   by process", "CPU time", format!("µs per {} (range)", self.unit))?;
        for side in &self.sides {
            let processes: Vec<String> =
                side.cpu_us_by_process.iter().map(|(name, us)| format!("{name} {us:.2}")).collect();
            writeln!(f, "  {:<16} {:>34}   {}", side.about.name, range(side.cpu_us), processes.join(" + "))?;
        }
        for (name, why) in &self.missing {
            writeln!(f, "  {name:<16} MISSING: {why}")?;
        }
        self.ratios.iter().try_for_each(|ratio| writeln!(f, "  {ratio}"))
    }
}

/// One line.
impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = format!("{} / {}", self.of, self.to);
        write!(f, "{name:<32} {:>18}", range(self.ratio))?;
        if let Some(at_most) = self.at_most {
            write!(f, "   bar {at_most:.2}")?;
        }
        f.write_str(verdict(self.verdict))
    }
}

fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Held => "   held",
        Verdict::Missed => "   MISSED",
        Verdict::Unjudged => "   NOT JUDGED",
        Verdict::None => "",
    }
}

fn range(range: Option<Range>) -> String {
    match range {
        Some(Range { median, min, max }) => format!("{median:.2} ({min:.2} to {max:.2})"),
        None => "no round counts".to_owned(),
    }
}
