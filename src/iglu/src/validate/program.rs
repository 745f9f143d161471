//! A schema compiled: a table of nodes, one per sub-schema, that a walk follows by index.
//!
//! Nothing here fails: what cannot be compiled (a reference to nowhere, a pattern that is none) becomes a
//! [`Node::broken`], and matters only to data that reaches it, as in the reference.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::format::Format;
use super::names::{Name, Names};
use super::number::{Divisor, Limit};
use super::pattern::Pattern;

/// Index of a node.
pub(crate) type NodeId = u32;

/// Draft-04 types, as a set of bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Types(u8);

impl Types {
    pub(crate) const OBJECT: Self = Self(1);
    pub(crate) const ARRAY: Self = Self(2);
    pub(crate) const STRING: Self = Self(4);
    pub(crate) const NUMBER: Self = Self(8);
    /// A number that is an integer has both bits.
    pub(crate) const INTEGER: Self = Self(16 | 8);
    pub(crate) const BOOLEAN: Self = Self(32);
    pub(crate) const NULL: Self = Self(64);
    const ALL: Self = Self(127);

    fn named(name: &str) -> Self {
        match name {
            "object" => Self::OBJECT,
            "array" => Self::ARRAY,
            "string" => Self::STRING,
            "number" => Self::NUMBER,
            // As a rule: only integers.
            "integer" => Self(16),
            "boolean" => Self::BOOLEAN,
            "null" => Self::NULL,
            _ => Self(0),
        }
    }

    #[inline]
    pub(crate) fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

#[derive(Debug)]
pub(crate) struct TypeRule {
    pub(crate) allowed: Types,
    /// The one type's name, or `[a, b]` of a union.
    pub(crate) text: Box<str>,
    pub(crate) union: bool,
}

#[derive(Debug, Default)]
pub(crate) struct TextRules {
    pub(crate) min_length: Option<u64>,
    pub(crate) max_length: Option<u64>,
    pub(crate) format: Option<Format>,
    pub(crate) pattern: Option<(Box<str>, Pattern)>,
    pub(crate) broken_pattern: Option<Box<str>>,
}

#[derive(Debug, Default)]
pub(crate) struct NumberRules {
    /// The limit and whether it is excluded.
    pub(crate) minimum: Option<(Limit, bool)>,
    pub(crate) maximum: Option<(Limit, bool)>,
    pub(crate) multiple_of: Option<Divisor>,
}

#[derive(Debug)]
pub(crate) enum Items {
    Any,
    Each(NodeId),
    Tuple(Vec<NodeId>, Additional),
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Additional {
    Allowed,
    Refused,
    Schema(NodeId),
}

#[derive(Debug)]
pub(crate) struct ArrayRules {
    pub(crate) items: Items,
    pub(crate) min_items: Option<u64>,
    pub(crate) max_items: Option<u64>,
    pub(crate) unique: bool,
}

/// A pattern, or why it is none.
pub(crate) type CompiledPattern = Result<Pattern, Box<str>>;

#[derive(Debug)]
pub(crate) struct ObjectRules {
    pub(crate) names: Names,
    pub(crate) required: usize,
    pub(crate) patterns: Vec<(CompiledPattern, NodeId)>,
    pub(crate) additional: Additional,
    pub(crate) min_properties: Option<u64>,
    pub(crate) max_properties: Option<u64>,
    pub(crate) dependencies: Vec<(Box<str>, Dependency)>,
    /// All array-formed dependencies, as reports show them.
    pub(crate) dependencies_text: Box<str>,
}

#[derive(Debug)]
pub(crate) enum Dependency {
    Names(Vec<Box<str>>),
    Schema(NodeId),
}

/// Keywords that concern values of every type.
#[derive(Debug, Default)]
pub(crate) struct GeneralRules {
    pub(crate) enumeration: Option<(Vec<Value>, Box<str>)>,
    pub(crate) reference: Option<NodeId>,
    pub(crate) all_of: Vec<NodeId>,
    pub(crate) any_of: Vec<NodeId>,
    pub(crate) one_of: Vec<NodeId>,
    /// The alternatives' compact texts joined.
    pub(crate) one_of_text: Box<str>,
    pub(crate) not: Option<(NodeId, Box<str>)>,
}

/// One sub-schema. What it does not restrict is absent.
#[derive(Debug, Default)]
pub(crate) struct Node {
    pub(crate) types: Option<TypeRule>,
    pub(crate) nullable: bool,
    pub(crate) text: Option<Box<TextRules>>,
    pub(crate) number: Option<Box<NumberRules>>,
    pub(crate) array: Option<Box<ArrayRules>>,
    pub(crate) object: Option<Box<ObjectRules>>,
    pub(crate) general: Option<Box<GeneralRules>>,
    /// Why data that reaches this node cannot be judged.
    pub(crate) broken: Option<Box<str>>,
}

impl Node {
    /// The types of which every value is valid.
    fn accepted(&self) -> Types {
        if self.broken.is_some() || self.general.is_some() {
            return Types::default();
        }
        let allowed = self.types.as_ref().map_or(Types::ALL, |rule| rule.allowed);
        let mut accepted = Types::default();
        let unruled = [
            (Types::STRING, self.text.is_none()),
            (Types::ARRAY, self.array.is_none()),
            (Types::OBJECT, self.object.is_none()),
            (Types::BOOLEAN, true),
            (Types::NULL, true),
        ];
        for (kind, is_unruled) in unruled {
            if is_unruled && (allowed.intersects(kind) || (kind == Types::NULL && self.nullable)) {
                accepted.0 |= kind.0;
            }
        }
        accepted
    }
}

/// A compiled schema.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) nodes: Vec<Node>,
    pub(crate) root: NodeId,
}

impl Program {
    /// Compiles a document whose shape the meta-schema accepted; keywords of other shapes are ignored.
    pub(crate) fn compile(document: &Value) -> Self {
        let mut ids = HashMap::new();
        collect_ids(document, &mut ids);
        let mut compiler = Compiler { document, ids, nodes: Vec::new(), known: HashMap::new() };
        let root = compiler.node(document);
        let mut program = Self { nodes: compiler.nodes, root };
        program.break_cycles();
        program.accept_types();
        program
    }

    /// Notes with each member name which types of values need no look at the sub-schema.
    fn accept_types(&mut self) {
        let accepted: Vec<Types> = self.nodes.iter().map(Node::accepted).collect();
        for rules in self.nodes.iter_mut().filter_map(|node| node.object.as_mut()) {
            rules.names.accept(|id| accepted[id as usize]);
        }
    }

    /// Nodes which lead back to themselves without stepping into the data would never end.
    fn break_cycles(&mut self) {
        // 0: not seen, 1: on the path, 2: done.
        let mut state = vec![0u8; self.nodes.len()];
        let mut endless = Vec::new();
        for start in 0..self.nodes.len() as NodeId {
            // A stack of its own: schemas are as deep as their author likes.
            let mut stack = vec![(start, false)];
            while let Some((id, leave)) = stack.pop() {
                let mark = &mut state[id as usize];
                match (leave, *mark) {
                    (true, _) => *mark = 2,
                    (false, 0) => {
                        *mark = 1;
                        stack.push((id, true));
                        stack.extend(self.in_place(id).map(|next| (next, false)));
                    }
                    (false, 1) => endless.push(id),
                    _ => {}
                }
            }
        }
        for id in endless {
            self.nodes[id as usize] =
                Node { broken: Some("reference leads back to itself without end".into()), ..Node::default() };
        }
    }

    /// The nodes that judge the same value as `id`.
    fn in_place(&self, id: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        let node = &self.nodes[id as usize];
        let general = node.general.iter().flat_map(|rules| {
            let lists = rules.all_of.iter().chain(&rules.any_of).chain(&rules.one_of).copied();
            lists.chain(rules.reference).chain(rules.not.as_ref().map(|(id, _)| *id))
        });
        let dependencies = node.object.iter().flat_map(|rules| &rules.dependencies);
        general.chain(dependencies.filter_map(|(_, dependency)| match dependency {
            Dependency::Schema(id) => Some(*id),
            Dependency::Names(_) => None,
        }))
    }
}

/// Members that hold one schema.
const ONE: [&str; 4] = ["additionalItems", "additionalProperties", "items", "not"];
/// Members that hold a list of schemas.
const LISTS: [&str; 4] = ["allOf", "anyOf", "oneOf", "items"];
/// Members that hold schemas by name.
const MAPS: [&str; 4] = ["properties", "patternProperties", "definitions", "dependencies"];

fn collect_ids<'d>(schema: &'d Value, ids: &mut HashMap<&'d str, &'d Value>) {
    let Value::Object(members) = schema else { return };
    if let Some(Value::String(id)) = members.get("id") {
        ids.entry(id).or_insert(schema);
    }
    for name in ONE {
        members.get(name).into_iter().for_each(|schema| collect_ids(schema, ids));
    }
    for name in LISTS {
        members.get(name).and_then(Value::as_array).into_iter().flatten().for_each(|schema| collect_ids(schema, ids));
    }
    for name in MAPS {
        let map = members.get(name).and_then(Value::as_object);
        map.into_iter().flat_map(Map::values).for_each(|schema| collect_ids(schema, ids));
    }
}

struct Compiler<'d> {
    document: &'d Value,
    ids: HashMap<&'d str, &'d Value>,
    nodes: Vec<Node>,
    /// Sub-schemas by address, so that references end at the node that exists already.
    known: HashMap<*const Value, NodeId>,
}

impl<'d> Compiler<'d> {
    fn node(&mut self, schema: &'d Value) -> NodeId {
        if let Some(&id) = self.known.get(&std::ptr::from_ref(schema)) {
            return id;
        }
        let id = self.push(Node::default());
        self.known.insert(schema, id);
        if let Value::Object(members) = schema {
            let node = Node {
                types: type_rule(members),
                nullable: members.get("nullable") == Some(&Value::Bool(true)),
                text: text_rules(members).map(Box::new),
                number: number_rules(members).map(Box::new),
                array: self.array_rules(members).map(Box::new),
                object: self.object_rules(members).map(Box::new),
                general: self.general_rules(members).map(Box::new),
                broken: None,
            };
            self.nodes[id as usize] = node;
        }
        id
    }

    fn push(&mut self, node: Node) -> NodeId {
        self.nodes.push(node);
        (self.nodes.len() - 1) as NodeId
    }

    fn list(&mut self, value: Option<&'d Value>) -> Vec<NodeId> {
        value.and_then(Value::as_array).into_iter().flatten().map(|schema| self.node(schema)).collect()
    }

    fn additional(&mut self, value: Option<&'d Value>) -> Additional {
        match value {
            Some(Value::Bool(false)) => Additional::Refused,
            Some(schema @ Value::Object(_)) => Additional::Schema(self.node(schema)),
            _ => Additional::Allowed,
        }
    }

    fn array_rules(&mut self, members: &'d Map<String, Value>) -> Option<ArrayRules> {
        let items = match members.get("items") {
            Some(schema @ Value::Object(_)) => Items::Each(self.node(schema)),
            tuple @ Some(Value::Array(_)) => {
                Items::Tuple(self.list(tuple), self.additional(members.get("additionalItems")))
            }
            _ => Items::Any,
        };
        let rules = ArrayRules {
            items,
            min_items: size(members, "minItems"),
            max_items: size(members, "maxItems"),
            unique: members.get("uniqueItems") == Some(&Value::Bool(true)),
        };
        let empty = matches!(rules.items, Items::Any)
            && rules.min_items.is_none()
            && rules.max_items.is_none()
            && !rules.unique;
        (!empty).then_some(rules)
    }

    fn object_rules(&mut self, members: &'d Map<String, Value>) -> Option<ObjectRules> {
        let map = |name: &str| members.get(name).and_then(Value::as_object);
        let keywords = [
            "properties",
            "required",
            "patternProperties",
            "additionalProperties",
            "minProperties",
            "maxProperties",
            "dependencies",
        ];
        if !keywords.iter().any(|name| members.contains_key(*name)) {
            return None;
        }
        let mut required: Vec<&str> =
            members.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
        required.sort_unstable();
        required.dedup();
        let declared = map("properties");
        let mut names: Vec<Name> = Vec::new();
        for (name, schema) in declared.into_iter().flatten() {
            let is_required = required.binary_search(&name.as_str()).is_ok();
            let schema = self.node(schema);
            names.push(Name {
                text: name.as_str().into(),
                schema: Some(schema),
                required: is_required,
                // Known once all nodes are: see `accept_types`.
                accepted: Types::default(),
            });
        }
        let undeclared = required.iter().filter(|name| declared.is_none_or(|map| !map.contains_key(**name)));
        names.extend(undeclared.map(|name| Name {
            text: (*name).into(),
            schema: None,
            required: true,
            accepted: Types::default(),
        }));
        let compiled = |pattern: &str| Pattern::new(pattern).map_err(Into::into);
        let patterns = map("patternProperties").into_iter().flatten();
        let patterns = patterns.map(|(pattern, schema)| (compiled(pattern), self.node(schema))).collect();
        let mut dependencies = Vec::new();
        let mut texts = Vec::new();
        for (name, value) in map("dependencies").into_iter().flatten() {
            let dependency = match value {
                Value::Array(needed) => {
                    let needed: Vec<&str> = needed.iter().filter_map(Value::as_str).collect();
                    texts.push(format!("{name}=[{}]", needed.join(", ")));
                    Dependency::Names(needed.into_iter().map(Into::into).collect())
                }
                schema => Dependency::Schema(self.node(schema)),
            };
            dependencies.push((name.as_str().into(), dependency));
        }
        Some(ObjectRules {
            names: Names::new(names),
            required: required.len(),
            patterns,
            additional: self.additional(members.get("additionalProperties")),
            min_properties: size(members, "minProperties"),
            max_properties: size(members, "maxProperties"),
            dependencies,
            dependencies_text: format!("{{{}}}", texts.join(", ")).into(),
        })
    }

    fn general_rules(&mut self, members: &'d Map<String, Value>) -> Option<GeneralRules> {
        let compact = |value: &Value| value.to_string();
        let enumeration = members.get("enum").and_then(Value::as_array).map(|values| {
            let texts: Vec<String> = values.iter().map(enumeration_text).collect();
            (values.clone(), format!("[{}]", texts.join(", ")).into())
        });
        let one_of = members.get("oneOf");
        let rules = GeneralRules {
            enumeration,
            reference: members.get("$ref").and_then(Value::as_str).map(|reference| self.reference(reference)),
            all_of: self.list(members.get("allOf")),
            any_of: self.list(members.get("anyOf")),
            one_of: self.list(one_of),
            one_of_text: one_of.and_then(Value::as_array).into_iter().flatten().map(compact).collect::<String>().into(),
            not: members
                .get("not")
                .filter(|schema| schema.is_object())
                .map(|schema| (self.node(schema), format!("\"not\" : {schema}").into())),
        };
        let empty = rules.enumeration.is_none()
            && rules.reference.is_none()
            && rules.all_of.is_empty()
            && rules.any_of.is_empty()
            && rules.one_of.is_empty()
            && rules.not.is_none();
        (!empty).then_some(rules)
    }

    /// The node a `$ref` means: a place in this document, by pointer or `id`; another document is the empty schema.
    fn reference(&mut self, reference: &str) -> NodeId {
        let own_id = self.document.get("id").and_then(Value::as_str).map(|id| id.trim_end_matches('#'));
        let local = own_id.filter(|id| !id.is_empty()).and_then(|id| reference.strip_prefix(id));
        let local = local.filter(|rest| rest.is_empty() || rest.starts_with('#')).unwrap_or(reference);
        let target = match local.strip_prefix('#') {
            Some("") => Some(self.document),
            Some(pointer) if pointer.starts_with('/') => self.document.pointer(&percent_decoded(pointer)),
            _ if local.is_empty() => Some(self.document),
            _ => None,
        };
        let target = target.or_else(|| self.ids.get(reference).copied());
        match target {
            Some(schema) => self.node(schema),
            None if reference.starts_with("http://") || reference.starts_with("https://") => self.push(Node::default()),
            None => {
                let broken = format!("Reference {reference} cannot be resolved");
                self.push(Node { broken: Some(broken.into()), ..Node::default() })
            }
        }
    }
}

/// Pointers in a fragment may be percent-encoded.
fn percent_decoded(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.as_bytes();
    while let [first, rest @ ..] = bytes {
        let hex = |b: &u8| char::from(*b).to_digit(16).map(|d| d as u8);
        match (first, rest) {
            (b'%', [high, low, after @ ..]) if hex(high).is_some() && hex(low).is_some() => {
                out.push(hex(high).unwrap_or(0) << 4 | hex(low).unwrap_or(0));
                bytes = after;
            }
            _ => {
                out.push(*first);
                bytes = rest;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn type_rule(members: &Map<String, Value>) -> Option<TypeRule> {
    match members.get("type")? {
        Value::String(name) => Some(TypeRule { allowed: Types::named(name), text: name.as_str().into(), union: false }),
        Value::Array(names) => {
            let names: Vec<&str> = names.iter().filter_map(Value::as_str).collect();
            let allowed = names.iter().fold(Types::default(), |all, name| Types(all.0 | Types::named(name).0));
            Some(TypeRule { allowed, text: format!("[{}]", names.join(", ")).into(), union: true })
        }
        _ => None,
    }
}

fn text_rules(members: &Map<String, Value>) -> Option<TextRules> {
    let mut rules = TextRules {
        min_length: size(members, "minLength"),
        max_length: size(members, "maxLength"),
        format: members.get("format").and_then(Value::as_str).and_then(Format::named),
        ..TextRules::default()
    };
    if let Some(Value::String(pattern)) = members.get("pattern") {
        match Pattern::new(pattern) {
            Ok(compiled) => rules.pattern = Some((pattern.as_str().into(), compiled)),
            Err(reason) => rules.broken_pattern = Some(reason.into()),
        }
    }
    let empty = rules.min_length.is_none()
        && rules.max_length.is_none()
        && rules.format.is_none()
        && rules.pattern.is_none()
        && rules.broken_pattern.is_none();
    (!empty).then_some(rules)
}

fn number_rules(members: &Map<String, Value>) -> Option<NumberRules> {
    let number = |name: &str| match members.get(name) {
        Some(Value::Number(number)) => Some(number),
        _ => None,
    };
    let limit = |name: &str, exclusive: &str| {
        number(name).map(|n| (Limit::new(n), members.get(exclusive) == Some(&Value::Bool(true))))
    };
    let rules = NumberRules {
        minimum: limit("minimum", "exclusiveMinimum"),
        maximum: limit("maximum", "exclusiveMaximum"),
        multiple_of: number("multipleOf").and_then(Divisor::new),
    };
    (rules.minimum.is_some() || rules.maximum.is_some() || rules.multiple_of.is_some()).then_some(rules)
}

/// A size; one beyond 64 bits is no bound that data could reach, or one that none can.
fn size(members: &Map<String, Value>, name: &str) -> Option<u64> {
    match members.get(name)? {
        Value::Number(n) => n.as_u64().or_else(|| n.as_str().bytes().all(|b| b.is_ascii_digit()).then_some(u64::MAX)),
        _ => None,
    }
}

/// As the reference prints a value of an enumeration: texts bare, arrays and objects as nothing.
fn enumeration_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(_) | Value::Object(_) => String::new(),
        scalar => scalar.to_string(),
    }
}
