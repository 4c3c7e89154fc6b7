//! Single values of a request, whichever way a client spells them.
//!
//! Clients send nulls, numbers as strings and lists as comma-separated words; all of that is accepted. What can't be
//! meant is an error that names the field as the client wrote it. Nothing here panics, whatever comes in.
//!
//! Called by [`super::body`] and the routes that take query parameters.

use serde_json::{Map, Value};

/// The largest number taken: what a JSON number holds exactly everywhere.
pub const LARGEST: u64 = (1 << 53) - 1;

/// A field with a value that can't be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct Wrong {
    /// As the client wrote it.
    pub field: String,
    /// What it should be.
    pub reason: String,
}

/// A [`Wrong`] of this field.
pub fn wrong(field: &str, reason: impl Into<String>) -> Wrong {
    Wrong { field: field.to_owned(), reason: reason.into() }
}

/// Fields by name, nulls left out, from the query and the body of one request. The body wins.
#[derive(Debug, Default)]
pub struct Fields(Map<String, Value>);

impl Fields {
    /// A parameter given more than once becomes a list.
    pub fn new(query: Vec<(String, String)>, body: Map<String, Value>) -> Self {
        let mut fields = Map::new();
        for (name, value) in query {
            let value = Value::String(value);
            match fields.get_mut(&name) {
                None => {
                    fields.insert(name, value);
                }
                Some(Value::Array(values)) => values.push(value),
                Some(first) => *first = Value::Array(vec![first.take(), value]),
            }
        }
        fields.extend(body.into_iter().filter(|(_, value)| !value.is_null()));
        Self(fields)
    }

    /// Those of these names that are there.
    pub fn known(&self, names: &[&str]) -> Map<String, Value> {
        let there = names.iter().filter_map(|name| Some(((*name).to_owned(), self.get(name)?.clone())));
        there.collect()
    }

    /// The value of a field.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// A whole number under any of several names, with the name it had.
    ///
    /// Two names with two numbers is an error: nobody can tell which was meant.
    pub fn number<'n>(&self, names: &[&'n str]) -> Result<Option<(&'n str, u64)>, Wrong> {
        let mut found: Option<(&str, u64)> = None;
        for name in names {
            let Some(value) = self.get(name) else { continue };
            let value = number(name, value)?;
            match found {
                Some((first, other)) if other != value => {
                    return Err(wrong(name, format!("{value}, but {first} says {other}: give one of them")));
                }
                Some(_) => {}
                None => found = Some((name, value)),
            }
        }
        Ok(found)
    }

    /// A text.
    pub fn text(&self, name: &str) -> Result<Option<&str>, Wrong> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(wrong(name, format!("expected a string, got {}", shown(other)))),
        }
    }

    /// Words: a list of strings, or one string with commas.
    pub fn words(&self, name: &str) -> Result<Option<Vec<&str>>, Wrong> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(commas(text).collect())),
            Some(Value::Array(values)) => {
                let mut words = Vec::new();
                for value in values {
                    match value {
                        Value::String(text) => words.extend(commas(text)),
                        other => return Err(wrong(name, format!("expected strings, got {}", shown(other)))),
                    }
                }
                Ok(Some(words))
            }
            Some(other) => Err(wrong(name, format!("expected a list of strings, got {}", shown(other)))),
        }
    }

    /// Whole numbers: a list, one number, or one string with commas.
    pub fn numbers(&self, name: &str) -> Result<Option<Vec<u64>>, Wrong> {
        let one = |value: &Value| match value {
            Value::String(text) => commas(text).map(|word| parse(name, word)).collect::<Result<Vec<_>, _>>(),
            other => number(name, other).map(|number| vec![number]),
        };
        match self.get(name) {
            None => Ok(None),
            Some(Value::Array(values)) => {
                let lists = values.iter().map(one).collect::<Result<Vec<_>, _>>()?;
                Ok(Some(lists.concat()))
            }
            Some(value) => one(value).map(Some),
        }
    }

    /// Whether a field asks for something: given, and neither false nor empty.
    pub fn asks_for(&self, name: &str) -> bool {
        match self.get(name) {
            None | Some(Value::Null | Value::Bool(false)) => false,
            Some(Value::Bool(true) | Value::Object(_)) => true,
            Some(Value::Number(number)) => number.as_f64() != Some(0.0),
            Some(Value::String(text)) => !matches!(
                text.trim().to_ascii_lowercase().as_str(),
                "" | "0" | "false" | "no" | "off" | "none" | "null"
            ),
            Some(Value::Array(values)) => !values.is_empty(),
        }
    }
}

fn commas(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|word| !word.is_empty())
}

fn number(name: &str, value: &Value) -> Result<u64, Wrong> {
    match value {
        Value::String(text) => parse(name, text.trim()),
        Value::Number(number) => {
            let whole = number.as_u64().or_else(|| {
                // 5.0 is how some clients write 5.
                number.as_f64().filter(|float| float.fract() == 0.0 && (0.0..=LARGEST as f64).contains(float)).map(
                    #[allow(clippy::cast_sign_loss, reason = "checked to lie in range just above")]
                    |float| float as u64,
                )
            });
            within(name, whole, value)
        }
        other => Err(wrong(name, format!("expected a whole number, got {}", shown(other)))),
    }
}

fn parse(name: &str, text: &str) -> Result<u64, Wrong> {
    within(name, text.parse().ok(), &Value::String(text.to_owned()))
}

fn within(name: &str, number: Option<u64>, value: &Value) -> Result<u64, Wrong> {
    match number {
        Some(number) if number <= LARGEST => Ok(number),
        _ => Err(wrong(name, format!("expected a whole number from 0 to {LARGEST}, got {}", shown(value)))),
    }
}

/// A value as an error may show it: short, and no control characters.
pub fn shown(value: &Value) -> String {
    match value {
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        other => {
            let text = other.to_string();
            match text.char_indices().nth(64) {
                Some((cut, _)) => format!("{}…", &text[..cut]),
                None => text,
            }
        }
    }
}
