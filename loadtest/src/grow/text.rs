//! Growth as text.

use std::fmt;

use super::report::{Figure, Grown, Report, Row};
use crate::compare::report::Range;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.machine)?;
        writeln!(f, "{}", self.versions.join(", "))?;
        self.kinds.iter().try_for_each(|kind| write!(f, "\n{kind}"))?;
        writeln!(f, "\nhow it was measured")?;
        self.method.iter().try_for_each(|sentence| writeln!(f, "  {sentence}"))?;
        if let Some(why) = &self.failed {
            writeln!(f, "\nFAILED: {why}")?;
        }
        if self.short && self.failed.is_none() {
            writeln!(f, "\nToo short to judge by: everything did its work, no more is said.")?;
        }
        Ok(())
    }
}

impl fmt::Display for Grown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.rounds_kept == 1 { "" } else { "s" };
        writeln!(
            f,
            "{}: {} ({} round{plural}; cpu_us per {})",
            self.name, self.does, self.rounds_kept, self.unit
        )?;
        self.rounds_starved.iter().try_for_each(|why| writeln!(f, "    thrown out: {why}"))?;
        self.figures.iter().try_for_each(|figure| write!(f, "{figure}"))
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, row) in self.rows.iter().enumerate() {
            writeln!(f, "  {:<18} {row}", if place == 0 { self.name } else { "" })?;
        }
        Ok(())
    }
}

/// One line.
impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<18} {:>30}", self.variant, self.range.map_or("no round counts".to_owned(), range))?;
        if let Some(times) = self.times_first {
            write!(f, "   × {}", range(times))?;
        }
        if let Some(at_most) = self.at_most {
            write!(f, "   bar {at_most:.2}")?;
        }
        self.verdict.word().map_or(Ok(()), |word| write!(f, "   {word}"))
    }
}

fn range(Range { median, min, max }: Range) -> String {
    let whole = [median, min, max].iter().all(|value| value.fract() == 0.0);
    let digits = if whole || max >= 1_000.0 { 0 } else { 2 };
    format!("{median:.digits$} ({min:.digits$} to {max:.digits$})")
}
