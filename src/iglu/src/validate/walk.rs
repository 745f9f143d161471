//! Walking data along a compiled schema: one walk for both questions. "Is it valid?" stops at the first violation and
//! allocates nothing; "what is wrong?" collects every violation with the reference's words.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::ops::ControlFlow::{self, Break, Continue};

use serde_json::Value;

use super::data::{Data, Name};
use super::number::{equal_by_value, identity, small_integer};
use super::program::{Additional, ArrayRules, Dependency, GeneralRules, Items, NodeId, NumberRules, ObjectRules};
use super::program::{Program, TextRules, Types};
use crate::Report;

/// Most reports for one value; the walk ends when they are full.
const MAX_REPORTS: usize = 1_000;
/// About how many bytes of paths the reports for one value may repeat: a path is as long as the data's names make it.
const MAX_PATH_BYTES: usize = 256 << 10;
/// Most sub-schemas that are applied to one value: branches of branches grow exponentially.
const MAX_STEPS: u32 = 2_000_000;
/// Deepest nesting of sub-schemas applied, in-place ones included; bounds the stack.
const MAX_DEPTH: u32 = 400;

/// Where a value stands, as a chain on the stack.
#[derive(Clone, Copy)]
pub(crate) enum Path<'p> {
    Root,
    Member(&'p Path<'p>, &'p str),
    Item(&'p Path<'p>, usize),
}

impl Path<'_> {
    fn write(&self, out: &mut String) {
        match self {
            Self::Root => out.push('$'),
            Self::Member(parent, name) => {
                parent.write(out);
                out.push('.');
                out.push_str(name);
            }
            Self::Item(parent, index) => {
                parent.write(out);
                out.push_str(&format!("[{index}]"));
            }
        }
    }

    fn text(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }
}

/// What becomes of a violation.
pub(crate) trait Sink {
    /// Takes a violation; `Break` ends the walk.
    fn violation(&mut self, make: impl FnOnce() -> Report) -> ControlFlow<()>;
    /// The reports so far, when they are kept.
    fn reports(&mut self) -> Option<&mut Vec<Report>>;
}

/// Ends at the first violation.
pub(crate) struct First;

impl Sink for First {
    #[inline]
    fn violation(&mut self, _make: impl FnOnce() -> Report) -> ControlFlow<()> {
        Break(())
    }

    #[inline]
    fn reports(&mut self) -> Option<&mut Vec<Report>> {
        None
    }
}

/// Keeps every violation.
impl Sink for Vec<Report> {
    fn violation(&mut self, make: impl FnOnce() -> Report) -> ControlFlow<()> {
        let report = make();
        let repeated = (self.len() + 1).saturating_mul(report.path.len());
        self.push(report);
        if self.len() < MAX_REPORTS && repeated < MAX_PATH_BYTES { Continue(()) } else { Break(()) }
    }

    fn reports(&mut self) -> Option<&mut Vec<Report>> {
        Some(self)
    }
}

/// One walk.
pub(crate) struct Walk<'s, S> {
    program: &'s Program,
    sink: S,
    steps: u32,
    depth: u32,
    broken: Option<&'s str>,
}

/// Whether the data is valid; an error says why the schema cannot tell.
pub(crate) fn is_valid<'s, 'd>(program: &'s Program, data: impl Data<'d>) -> Result<bool, &'s str> {
    let mut walk = Walk { program, sink: First, steps: 0, depth: 0, broken: None };
    let flow = walk.node(program.root, data, Path::Root);
    match walk.broken {
        Some(reason) => Err(reason),
        None => Ok(flow.is_continue()),
    }
}

/// Every violation once; an error says why the schema cannot tell.
pub(crate) fn reports<'s, 'd>(program: &'s Program, data: impl Data<'d>) -> Result<Vec<Report>, &'s str> {
    let mut walk = Walk { program, sink: Vec::new(), steps: 0, depth: 0, broken: None };
    // Whether it ended early does not matter: what was found is in the sink.
    let _ended_early = walk.node(program.root, data, Path::Root).is_break();
    if let Some(reason) = walk.broken {
        return Err(reason);
    }
    let mut seen = HashSet::new();
    let mut reports = walk.sink;
    reports.retain(|report| seen.insert(report.clone()));
    Ok(reports)
}

impl<'s, S: Sink> Walk<'s, S> {
    fn node<'d>(&mut self, id: NodeId, value: impl Data<'d>, path: Path<'_>) -> ControlFlow<()> {
        let node = &self.program.nodes[id as usize];
        self.steps += 1;
        if self.depth >= MAX_DEPTH || self.steps > MAX_STEPS {
            return self.broken("validation needs too many steps");
        }
        if let Some(reason) = &node.broken {
            return self.broken(reason);
        }
        let kind = value.kind();
        let pardoned = node.nullable && kind == Types::NULL;
        if let Some(rule) = &node.types
            && !rule.allowed.intersects(kind)
            && !pardoned
        {
            self.sink.violation(|| type_report(path, kind, rule.union, &rule.text))?;
        }
        self.depth += 1;
        match kind {
            Types::STRING => {
                if let Some(rules) = &node.text {
                    self.text(rules, &value.text(), path)?;
                }
            }
            Types::NUMBER | Types::INTEGER => {
                if let Some(rules) = &node.number {
                    self.number(rules, value.number(), path)?;
                }
            }
            Types::ARRAY => {
                if let Some(rules) = &node.array {
                    self.array(rules, value, path)?;
                }
            }
            Types::OBJECT => {
                if let Some(rules) = &node.object {
                    self.object(rules, value, path)?;
                }
            }
            _ => {}
        }
        if let Some(rules) = &node.general {
            self.general(rules, value, pardoned, path)?;
        }
        self.depth -= 1;
        Continue(())
    }

    #[cold]
    fn broken(&mut self, reason: &'s str) -> ControlFlow<()> {
        self.broken = Some(reason);
        Break(())
    }

    fn text(&mut self, rules: &'s TextRules, text: &str, path: Path<'_>) -> ControlFlow<()> {
        if rules.min_length.is_some() || rules.max_length.is_some() {
            self.length(rules, text, path)?;
        }
        if let Some(format) = rules.format.filter(|format| !format.is_valid(text)) {
            self.sink.violation(|| {
                let (keyword, words, targets) = format.report(text);
                report(path, keyword, &words, targets)
            })?;
        }
        if let Some((source, _)) = rules.pattern.as_ref().filter(|(_, pattern)| !pattern.is_match(text)) {
            self.sink.violation(|| {
                report(path, "pattern", &format!("does not match the regex pattern {source}"), one(source))
            })?;
        }
        match &rules.broken_pattern {
            Some(reason) => self.broken(reason),
            None => Continue(()),
        }
    }

    fn length(&mut self, rules: &TextRules, text: &str, path: Path<'_>) -> ControlFlow<()> {
        let bytes = text.len() as u64;
        // A code point takes one to four bytes: most texts are decided without counting.
        let surely_long_enough = rules.min_length.is_none_or(|min| bytes / 4 >= min);
        let surely_short_enough = rules.max_length.is_none_or(|max| bytes <= max);
        if surely_long_enough && surely_short_enough {
            return Continue(());
        }
        let length = text.chars().count() as u64;
        if let Some(min) = rules.min_length.filter(|&min| length < min) {
            self.sink.violation(|| {
                report(path, "minLength", &format!("must be at least {min} characters long"), one(&min.to_string()))
            })?;
        }
        if let Some(max) = rules.max_length.filter(|&max| length > max) {
            self.sink.violation(|| {
                report(path, "maxLength", &format!("may only be {max} characters long"), one(&max.to_string()))
            })?;
        }
        Continue(())
    }

    fn number(&mut self, rules: &NumberRules, text: &str, path: Path<'_>) -> ControlFlow<()> {
        let small = small_integer(text);
        if let Some((limit, exclusive)) = &rules.minimum {
            let order = limit.compare(text, small);
            if order == Ordering::Less || (*exclusive && order == Ordering::Equal) {
                let words = || format!("must have a minimum value of {}", limit.text);
                self.sink.violation(|| report(path, "minimum", &words(), one(&limit.text)))?;
            }
        }
        if let Some((limit, exclusive)) = &rules.maximum {
            let order = limit.compare(text, small);
            if order == Ordering::Greater || (*exclusive && order == Ordering::Equal) {
                let words = || format!("must have a maximum value of {}", limit.text);
                self.sink.violation(|| report(path, "maximum", &words(), one(&limit.text)))?;
            }
        }
        if let Some(divisor) = rules.multiple_of.as_ref().filter(|divisor| !divisor.divides(text)) {
            let words = || format!("must be multiple of {}", divisor.text);
            self.sink.violation(|| report(path, "multipleOf", &words(), one(&divisor.text)))?;
        }
        Continue(())
    }

    fn array<'d>(&mut self, rules: &'s ArrayRules, value: impl Data<'d>, path: Path<'_>) -> ControlFlow<()> {
        let count = value.len() as u64;
        if let Some(min) = rules.min_items.filter(|&min| count < min) {
            let words = || format!("there must be a minimum of {min} items in the array");
            self.sink.violation(|| report(path, "minItems", &words(), one(&min.to_string())))?;
        }
        if let Some(max) = rules.max_items.filter(|&max| count > max) {
            let words = || format!("there must be a maximum of {max} items in the array");
            self.sink.violation(|| report(path, "maxItems", &words(), one(&max.to_string())))?;
        }
        if rules.unique && !is_unique(value) {
            self.sink.violation(|| report(path, "uniqueItems", "the items in the array must be unique", Vec::new()))?;
        }
        match &rules.items {
            Items::Any => {}
            Items::Each(id) => {
                for (index, item) in value.items().enumerate() {
                    self.node(*id, item, Path::Item(&path, index))?;
                }
            }
            Items::Tuple(ids, additional) => {
                for (index, item) in value.items().enumerate() {
                    match (ids.get(index), additional) {
                        (Some(id), _) | (None, Additional::Schema(id)) => {
                            self.node(*id, item, Path::Item(&path, index))?;
                        }
                        (None, Additional::Allowed) => break,
                        (None, Additional::Refused) => self.sink.violation(|| Report {
                            message: format!("{}: no validator found at this index", Path::Item(&path, index).text()),
                            path: path.text(),
                            keyword: Some("items"),
                            targets: one(&index.to_string()),
                        })?,
                    }
                }
            }
        }
        Continue(())
    }

    fn object<'d>(&mut self, rules: &'s ObjectRules, value: impl Data<'d>, path: Path<'_>) -> ControlFlow<()> {
        let mut required = rules.required;
        for (name, member) in value.members() {
            let known = rules.names.find(name.hash(), &name.bytes());
            let mut defined = false;
            if let Some(known) = known {
                required -= usize::from(known.required);
                defined = known.schema.is_some();
                if rules.patterns.is_empty() && known.accepted.intersects(member.kind()) {
                    continue;
                }
            }
            let name = &*name.text();
            let here = Path::Member(&path, name);
            if let Some(id) = known.and_then(|known| known.schema) {
                self.node(id, member, here)?;
            }
            for (pattern, id) in &rules.patterns {
                match pattern {
                    Ok(pattern) if pattern.is_match(name) => {
                        defined = true;
                        self.node(*id, member, here)?;
                    }
                    Ok(_) => {}
                    Err(reason) => return self.broken(reason),
                }
            }
            match rules.additional {
                Additional::Schema(id) if !defined => self.node(id, member, here)?,
                // A quirk of the reference that published schemas may rely on.
                Additional::Refused if !defined && !name.starts_with('#') => self.sink.violation(|| Report {
                    message: format!(
                        "{}: is not defined in the schema and the schema does not allow additional properties",
                        here.text()
                    ),
                    path: path.text(),
                    keyword: Some("additionalProperties"),
                    targets: one(name),
                })?,
                _ => {}
            }
        }
        if required > 0 {
            for missing in rules.names.iter().filter(|name| name.required && !value.has(&name.text)) {
                self.sink.violation(|| Report {
                    message: format!("{}: is missing but it is required", Path::Member(&path, &missing.text).text()),
                    path: path.text(),
                    keyword: Some("required"),
                    targets: one(&missing.text),
                })?;
            }
        }
        let count = value.len() as u64;
        if let Some(min) = rules.min_properties.filter(|&min| count < min) {
            let words = || format!("should have a minimum of {min} properties");
            self.sink.violation(|| report(path, "minProperties", &words(), one(&min.to_string())))?;
        }
        if let Some(max) = rules.max_properties.filter(|&max| count > max) {
            let words = || format!("may only have a maximum of {max} properties");
            self.sink.violation(|| report(path, "maxProperties", &words(), one(&max.to_string())))?;
        }
        for (name, dependency) in &rules.dependencies {
            if !value.has(name) {
                continue;
            }
            match dependency {
                Dependency::Schema(id) => self.node(*id, value, path)?,
                Dependency::Names(names) => {
                    if !names.iter().all(|name| value.has(name)) {
                        let text = &rules.dependencies_text;
                        let words = || format!("has an error with dependencies {text}");
                        self.sink.violation(|| report(path, "dependencies", &words(), one(text)))?;
                    }
                }
            }
        }
        Continue(())
    }

    fn general<'d>(
        &mut self,
        rules: &'s GeneralRules,
        value: impl Data<'d>,
        pardoned: bool,
        path: Path<'_>,
    ) -> ControlFlow<()> {
        if let Some((values, text)) = &rules.enumeration
            && !pardoned
            && !is_among(values, value)
        {
            let words = || format!("does not have a value in the enumeration {text}");
            self.sink.violation(|| report(path, "enum", &words(), one(text)))?;
        }
        if let Some(id) = rules.reference {
            self.node(id, value, path)?;
        }
        for id in &rules.all_of {
            self.node(*id, value, path)?;
        }
        if !rules.any_of.is_empty() {
            self.any_of(&rules.any_of, value, path)?;
        }
        if !rules.one_of.is_empty() {
            self.one_of(rules, value, path)?;
        }
        if let Some((id, text)) = &rules.not
            && self.branch(*id, value)?
        {
            let words = || format!("should not be valid to the schema {text}");
            self.sink.violation(|| report(path, "not", &words(), one(text)))?;
        }
        Continue(())
    }

    /// Whether one alternative accepts the value, without reporting.
    fn branch<'d>(&mut self, id: NodeId, value: impl Data<'d>) -> ControlFlow<(), bool> {
        let mut inner = Walk { program: self.program, sink: First, steps: self.steps, depth: self.depth, broken: None };
        let flow = inner.node(id, value, Path::Root);
        self.steps = inner.steps;
        match inner.broken {
            Some(reason) => {
                self.broken = Some(reason);
                Break(())
            }
            None => Continue(flow.is_continue()),
        }
    }

    fn any_of<'d>(&mut self, ids: &[NodeId], value: impl Data<'d>, path: Path<'_>) -> ControlFlow<()> {
        for id in ids {
            if self.branch(*id, value)? {
                return Continue(());
            }
        }
        self.all_reports(ids, value, path)
    }

    /// No alternative fits: the violations of all of them are reported.
    fn all_reports<'d>(&mut self, ids: &[NodeId], value: impl Data<'d>, path: Path<'_>) -> ControlFlow<()> {
        for id in ids {
            self.node(*id, value, path)?;
        }
        Continue(())
    }

    fn one_of<'d>(&mut self, rules: &'s GeneralRules, value: impl Data<'d>, path: Path<'_>) -> ControlFlow<()> {
        let mut fitting = 0;
        for id in &rules.one_of {
            if self.branch(*id, value)? {
                fitting += 1;
            }
        }
        match fitting {
            1 => Continue(()),
            0 => {
                let before = self.sink.reports().map_or(0, |reports| reports.len());
                self.all_reports(&rules.one_of, value, path)?;
                if let Some(reports) = self.sink.reports() {
                    drop_required(reports, before);
                }
                Continue(())
            }
            _ => {
                let text = &rules.one_of_text;
                let words =
                    || format!("should be valid to one and only one of schema, but more than one are valid: {text}");
                self.sink.violation(|| report(path, "oneOf", &words(), one(text)))
            }
        }
    }
}

/// Of the reports of a `oneOf` without a fitting alternative, missing members count only when nothing else is wrong.
fn drop_required(reports: &mut Vec<Report>, before: usize) {
    let is_required = |report: &Report| report.keyword == Some("required");
    if reports[before..].iter().any(|report| !is_required(report)) {
        let mut index = 0;
        reports.retain(|report| {
            index += 1;
            index <= before || !is_required(report)
        });
    }
}

fn is_among<'d>(allowed: &[Value], value: impl Data<'d>) -> bool {
    if value.kind() == Types::STRING {
        let text = value.text();
        return allowed.iter().any(|allowed| allowed.as_str() == Some(&text));
    }
    let tree = value.tree();
    allowed.iter().any(|allowed| equal_by_value(allowed, &tree))
}

fn is_unique<'d>(list: impl Data<'d>) -> bool {
    let mut seen = HashSet::with_capacity(list.len());
    list.items().all(|item| {
        let mut text = String::new();
        identity(&item.tree(), &mut text);
        seen.insert(text)
    })
}

fn one(target: &str) -> Vec<String> {
    vec![target.to_owned()]
}

fn report(path: Path<'_>, keyword: &'static str, words: &str, targets: Vec<String>) -> Report {
    let path = path.text();
    Report { message: format!("{path}: {words}"), path, keyword: Some(keyword), targets }
}

fn type_report(path: Path<'_>, kind: Types, union: bool, expected: &str) -> Report {
    let found = match kind {
        Types::OBJECT => "object",
        Types::ARRAY => "array",
        Types::STRING => "string",
        Types::INTEGER => "integer",
        Types::NUMBER => "number",
        Types::BOOLEAN => "boolean",
        _ => "null",
    };
    let targets = vec![found.to_owned(), expected.to_owned()];
    if union {
        report(path, "unionType", &format!("{found} found, but {expected} is required"), targets)
    } else {
        report(path, "type", &format!("{found} found, {expected} expected"), targets)
    }
}
