//! Bodies of Kinesis's requests and answers, taken apart and put together: partial failures and edits.

use serde_json::{Value, json};

/// What stays of a PutRecords request without the refused records; none when nothing stays.
pub(crate) fn without(request: &Value, refused: &[bool]) -> Option<Value> {
    let records = request.get("Records")?.as_array()?;
    let kept: Vec<Value> =
        records.iter().zip(refused).filter(|(_, refused)| !**refused).map(|(record, _)| record.clone()).collect();
    if kept.is_empty() {
        return None;
    }
    let mut request = request.clone();
    request["Records"] = Value::Array(kept);
    Some(request)
}

/// How many records a PutRecords request has.
pub(crate) fn count(request: &Value) -> usize {
    request.get("Records").and_then(Value::as_array).map_or(0, Vec::len)
}

/// Puts the refused entries at their places among those answered. `answer` is that for the records that stayed.
pub(crate) fn spliced(answer: Option<Value>, refused: &[bool], code: &str) -> Value {
    let mut answer = answer.unwrap_or_else(|| json!({ "FailedRecordCount": 0, "Records": [] }));
    let answered = answer.get_mut("Records").and_then(Value::as_array_mut).map(std::mem::take).unwrap_or_default();
    let already = answer.get("FailedRecordCount").and_then(Value::as_u64).unwrap_or(0);
    let refusals = refused.iter().filter(|refused| **refused).map(|_| 1).sum::<u64>();
    let mut answered = answered.into_iter();
    let entry = json!({ "ErrorCode": code, "ErrorMessage": "planned by the stand-in" });
    let spliced = refused.iter().filter_map(|refused| if *refused { Some(entry.clone()) } else { answered.next() });
    answer["Records"] = Value::Array(spliced.collect());
    answer["FailedRecordCount"] = json!(already + refusals);
    answer
}

/// Sets the value at a pointer, or takes it out. Says whether its parent was there.
pub(crate) fn edit(answer: &mut Value, pointer: &str, value: Option<&Value>) -> bool {
    let Some((parent, key)) = pointer.rsplit_once('/') else { return false };
    let key = key.replace("~1", "/").replace("~0", "~");
    match (answer.pointer_mut(parent), value) {
        (Some(Value::Object(object)), Some(value)) => {
            object.insert(key, value.clone());
            true
        }
        (Some(Value::Object(object)), None) => object.shift_remove(&key).is_some(),
        (Some(Value::Array(array)), value) => match (key.parse::<usize>().ok().filter(|at| *at < array.len()), value) {
            (Some(at), Some(value)) => {
                array[at] = value.clone();
                true
            }
            (Some(at), None) => {
                array.remove(at);
                true
            }
            (None, _) => false,
        },
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_records_are_left_out_and_stand_at_their_places_in_the_answer() {
        let request = json!({ "StreamName": "s", "Records": [{ "n": 0 }, { "n": 1 }, { "n": 2 }, { "n": 3 }] });
        let refused = [true, false, false, true];
        let sent = without(&request, &refused).unwrap();
        assert_eq!(sent, json!({ "StreamName": "s", "Records": [{ "n": 1 }, { "n": 2 }] }));
        let answer = json!({ "FailedRecordCount": 1, "Records": [{ "SequenceNumber": "1" }, { "ErrorCode": "InternalFailure" }] });
        let spliced = spliced(Some(answer), &refused, "X");
        assert_eq!(spliced["FailedRecordCount"], 3);
        let codes: Vec<_> = spliced["Records"].as_array().unwrap().iter().map(|entry| entry.get("ErrorCode")).collect();
        assert_eq!(codes, [Some(&json!("X")), None, Some(&json!("InternalFailure")), Some(&json!("X"))]);
    }

    #[test]
    fn when_all_are_refused_nothing_is_sent() {
        let request = json!({ "Records": [{ "n": 0 }] });
        assert_eq!(without(&request, &[true]), None);
        assert_eq!(spliced(None, &[true], "X")["FailedRecordCount"], 1);
    }

    #[test]
    fn an_edit_sets_or_takes_out() {
        let mut answer = json!({ "a": { "b": [1, 2] } });
        assert!(edit(&mut answer, "/a/b/1", Some(&json!(9))));
        assert!(edit(&mut answer, "/a/c", Some(&json!(null))));
        assert!(!edit(&mut answer, "/x/y", Some(&json!(1))));
        assert_eq!(answer, json!({ "a": { "b": [1, 9], "c": null } }));
        assert!(edit(&mut answer, "/a/b/0", None));
        assert!(edit(&mut answer, "/a/c", None));
        assert!(!edit(&mut answer, "/a/c", None));
        assert_eq!(answer, json!({ "a": { "b": [9] } }));
    }
}
