//! A conditional update of one row, from plain statements to DynamoDB's expressions.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

/// Changes and conditions. Names are those of attributes and stand in the expressions by number.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Update {
    sets: Vec<String>,
    removes: Vec<String>,
    adds: Vec<String>,
    conditions: Vec<String>,
    names: Vec<String>,
    values: Vec<AttributeValue>,
}

impl Update {
    fn name(&mut self, name: &str) -> String {
        let index = self.names.iter().position(|known| known == name).unwrap_or_else(|| {
            self.names.push(name.to_owned());
            self.names.len() - 1
        });
        format!("#n{index}")
    }

    fn value(&mut self, value: AttributeValue) -> String {
        self.values.push(value);
        format!(":v{}", self.values.len() - 1)
    }

    /// Sets an attribute.
    #[must_use]
    pub fn set(mut self, name: &str, value: AttributeValue) -> Self {
        let (name, value) = (self.name(name), self.value(value));
        self.sets.push(format!("{name} = {value}"));
        self
    }

    /// Sets an attribute, or removes it.
    #[must_use]
    pub fn put(self, name: &str, value: Option<AttributeValue>) -> Self {
        match value {
            Some(value) => self.set(name, value),
            None => self.remove(name),
        }
    }

    /// Removes an attribute, if it is there.
    #[must_use]
    pub fn remove(mut self, name: &str) -> Self {
        let name = self.name(name);
        self.removes.push(name);
        self
    }

    /// Adds one to a number.
    #[must_use]
    pub fn add_one(mut self, name: &str) -> Self {
        let (name, value) = (self.name(name), self.value(AttributeValue::N("1".to_owned())));
        self.adds.push(format!("{name} {value}"));
        self
    }

    /// Wants the attribute to be so, or absent.
    #[must_use]
    pub fn when(mut self, name: &str, value: Option<AttributeValue>) -> Self {
        let name = self.name(name);
        let condition = match value {
            Some(value) => format!("{name} = {}", self.value(value)),
            None => format!("attribute_not_exists({name})"),
        };
        self.conditions.push(condition);
        self
    }

    /// Wants one of two attributes to be so.
    #[must_use]
    pub fn when_either(mut self, names: [&str; 2], value: AttributeValue) -> Self {
        let value = self.value(value);
        let [one, other] = names.map(|name| self.name(name));
        self.conditions.push(format!("({one} = {value} OR {other} = {value})"));
        self
    }

    /// Wants the attribute to be there.
    #[must_use]
    pub fn when_there(mut self, name: &str) -> Self {
        let name = self.name(name);
        self.conditions.push(format!("attribute_exists({name})"));
        self
    }

    /// The update expression.
    pub fn expression(&self) -> String {
        let part = |word: &str, list: &[String]| match list {
            [] => String::new(),
            list => format!("{word} {} ", list.join(", ")),
        };
        let text = [part("SET", &self.sets), part("REMOVE", &self.removes), part("ADD", &self.adds)].concat();
        text.trim_end().to_owned()
    }

    /// The condition expression.
    pub fn condition(&self) -> Option<String> {
        (!self.conditions.is_empty()).then(|| self.conditions.join(" AND "))
    }

    /// Names by their number.
    pub fn names(&self) -> HashMap<String, String> {
        self.names.iter().enumerate().map(|(index, name)| (format!("#n{index}"), name.clone())).collect()
    }

    /// Values by their number.
    pub fn values(&self) -> Option<HashMap<String, AttributeValue>> {
        let numbered = |(index, value): (usize, &AttributeValue)| (format!(":v{index}"), value.clone());
        (!self.values.is_empty()).then(|| self.values.iter().enumerate().map(numbered).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_become_expressions_with_numbered_names() {
        let number = |n: u64| AttributeValue::N(n.to_string());
        let update = Update::default()
            .set("counter", number(2))
            .put("owner", None)
            .add_one("switches")
            .when("counter", Some(number(1)))
            .when("checkpointOwner", None)
            .when_either(["owner", "checkpointOwner"], AttributeValue::S("me".to_owned()));
        assert_eq!(update.expression(), "SET #n0 = :v0 REMOVE #n1 ADD #n2 :v1");
        assert_eq!(update.condition().unwrap(), "#n0 = :v2 AND attribute_not_exists(#n3) AND (#n1 = :v3 OR #n3 = :v3)");
        assert_eq!(update.names()["#n3"], "checkpointOwner");
        assert_eq!(update.values().unwrap().len(), 4);
    }
}
