//! Arguments of an event, and the trace's metadata, as debug annotations.

use serde_json::Value as Json;

use super::fields::{annotation, event};
use super::proto::ProtoBuffer;
use crate::trace::writer::Value;

/// The value of an annotation that is open; a number that is not finite is left out.
#[inline]
pub(super) fn value(proto: &mut ProtoBuffer, value: Value<'_>) {
    match value {
        Value::Number(number) => proto.number(annotation::UINT, number),
        Value::Signed(number) => proto.number(annotation::INT, number.cast_unsigned()),
        Value::Decimal(number) if number.is_finite() => proto.double(annotation::DOUBLE, number),
        Value::Decimal(_) => {}
        Value::Flag(flag) => proto.number(annotation::BOOL, flag.into()),
        Value::Text(text) => proto.text(annotation::STRING, text),
    }
}

/// Every member of an object that has a value, as an annotation of the event that is open.
pub(super) fn members(proto: &mut ProtoBuffer, object: &Json) {
    for (key, json) in object.as_object().into_iter().flatten().filter(|(_, json)| !json.is_null()) {
        let open = proto.open(event::ANNOTATIONS);
        proto.text(annotation::NAME, key);
        nested(proto, json);
        proto.close(open);
    }
}

/// Any JSON as the value of an annotation; null is none.
fn nested(proto: &mut ProtoBuffer, json: &Json) {
    match json {
        Json::Null => {}
        Json::Bool(flag) => value(proto, Value::Flag(*flag)),
        Json::String(text) => value(proto, Value::Text(text)),
        Json::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(number), _) => value(proto, Value::Number(number)),
            (None, Some(number)) => value(proto, Value::Signed(number)),
            (None, None) => value(proto, Value::Decimal(number.as_f64().unwrap_or(f64::NAN))),
        },
        Json::Array(values) => {
            for json in values {
                let open = proto.open(annotation::ARRAY_VALUES);
                nested(proto, json);
                proto.close(open);
            }
        }
        Json::Object(object) => {
            for (key, json) in object.iter().filter(|(_, json)| !json.is_null()) {
                let open = proto.open(annotation::DICT_ENTRIES);
                proto.text(annotation::NAME, key);
                nested(proto, json);
                proto.close(open);
            }
        }
    }
}
