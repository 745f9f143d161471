//! `snowmelt iglu lint`.

use snowmelt_iglu::lint::{Issue, Level, lint as issues_of};

use super::args::LintArgs;
use super::files;
use crate::trouble::{Outcome, Trouble};

/// Deepest schema: what the registry takes.
const MAX_DEPTH: usize = 40;

/// Prints what there is to say, a file after the other. Errors end with exit code 2.
pub(super) fn lint(args: &LintArgs) -> Outcome {
    let folder = files::read(&args.paths)?;
    let least = if args.advice { Level::Info } else { Level::Warning };
    let (mut errors, mut warnings, mut advice) = (folder.mistakes.len(), 0, 0);
    for found in folder.schemas.values() {
        let mut issues = issues_of(&found.document, MAX_DEPTH);
        issues.retain(|issue| !is_skipped(issue, &args.skip_checks));
        issues.sort_by(|a, b| (b.level, &a.pointer, &a.message).cmp(&(a.level, &b.pointer, &b.message)));
        let count = |level: Level| issues.iter().filter(|issue| issue.level == level).count();
        errors += count(Level::Error);
        warnings += count(Level::Warning);
        advice += count(Level::Info);
        issues.retain(|issue| issue.level >= least);
        if !issues.is_empty() {
            println!("{}", found.file.display());
        }
        for issue in &issues {
            println!("  {:<7} {}  {}  ({})", issue.level.name(), issue.pointer, issue.message, issue.linter);
        }
    }
    let hint = if args.advice || advice == 0 { "" } else { " (--advice shows them)" };
    println!("{} schemas: {errors} errors, {warnings} warnings, {advice} pieces of advice{hint}", folder.schemas.len());
    let mut wrong = folder.mistakes;
    if errors > wrong.len() {
        wrong.push(format!("{} errors in schemas; no registry takes these", errors - wrong.len()));
    } else if wrong.is_empty() && args.strict && warnings > 0 {
        wrong.push(format!("{warnings} warnings, which count as errors here (--strict)"));
    }
    if wrong.is_empty() { Ok(()) } else { Err(Trouble::User(wrong)) }
}

fn is_skipped(issue: &Issue, checks: &[String]) -> bool {
    issue.level != Level::Error && checks.iter().any(|check| check == issue.linter)
}
