//! A comparison as text.

use std::fmt;

use super::report::{Comparison, Machine, Range, Ratio, Report};

/// What every side is set to, instead of what it has cost.
pub struct Settings<'a>(pub &'a Report);

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.machine)?;
        for comparison in &self.comparisons {
            write!(f, "\n{comparison}")?;
        }
        writeln!(f, "\nwhat each side is (how it is set: --settings, or --html and --json)")?;
        for (side, names) in self.sides() {
            let about = &side.about;
            writeln!(f, "  {} in {}: {}; until {}", about.name, names.join(", "), about.does, about.state)?;
            writeln!(f, "    {}", about.version)?;
        }
        writeln!(f, "\nhow it was measured")?;
        for sentence in &self.method {
            writeln!(f, "  {sentence}")?;
        }
        if self.short {
            writeln!(f, "\nToo short to judge a bar by: every side reached its state, no more is said.")?;
        }
        Ok(())
    }
}

impl fmt::Display for Settings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (side, names) in self.0.sides() {
            let about = &side.about;
            writeln!(f, "{} in {}: {}", about.name, names.join(", "), about.does)?;
            writeln!(f, "  {}", about.version)?;
            for setting in &about.settings {
                writeln!(f, "  | {setting}")?;
            }
            writeln!(f)?;
        }
        for comparison in &self.0.comparisons {
            for (name, why) in &comparison.missing {
                writeln!(f, "{name} in {} is MISSING: {why}", comparison.name)?;
            }
        }
        Ok(())
    }
}

/// One line.
impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Machine { processor, cores, memory_gib, kernel } = self;
        write!(f, "{cores} cores of {processor}, {memory_gib:.0} GiB, Linux {kernel}")
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {} ({})", self.name, self.does, self.rounds())?;
        for why in &self.rounds_starved {
            writeln!(f, "    thrown out: {why}")?;
        }
        writeln!(f, "  {:<16} {:>26}   by process", "CPU time", format!("µs per {} (range)", self.unit))?;
        for side in &self.sides {
            let processes: Vec<String> =
                side.cpu_us_by_process.iter().map(|(name, us)| format!("{name} {us:.2}")).collect();
            writeln!(f, "  {:<16} {:>26}   {}", side.about.name, range(side.cpu_us), processes.join(" + "))?;
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
        write!(f, "{name:<24} {:>20}", range(self.ratio))?;
        if let Some(at_most) = self.at_most {
            write!(f, "   bar {at_most:.2}")?;
        }
        self.verdict.word().map_or(Ok(()), |word| write!(f, "   {word}"))
    }
}

fn range(range: Option<Range>) -> String {
    match range {
        Some(Range { median, min, max }) => format!("{median:.2} ({min:.2} to {max:.2})"),
        None => "no round counts".to_owned(),
    }
}
