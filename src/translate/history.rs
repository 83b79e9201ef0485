//! The history of tool calls: which result answers which call.
//!
//! OpenAI wants every call to have an identifier, every result to name one, and every call to be answered; Ollama's
//! clients lose the identifiers, and some the function names. So every call gets an identifier (the client's, else one
//! made of its place, nine letters and digits, which Mistral asks for), and a result takes, in this order: the call it
//! names, the first unanswered call of its function, the first unanswered call of the last turn with calls.

use crate::ollama::Message;

/// What becomes of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It goes as it is.
    Plain(usize),
    /// An assistant's message whose calls get these identifiers.
    Calls(usize, Vec<String>),
    /// The result of the call with this identifier.
    Result(usize, String),
    /// A result that answers no call: it goes as the user's words, so that nothing is lost.
    Stray(usize),
    /// A call that was not answered: OpenAI refuses a history without an answer.
    Unanswered(String),
}

struct Open<'a> {
    id: String,
    name: &'a [u8],
}

/// The messages in the order they are sent.
pub(super) fn steps(messages: &[Message<'_>]) -> Vec<Step> {
    let mut steps = Vec::with_capacity(messages.len());
    let mut open: Vec<Open<'_>> = Vec::new();
    for (at, message) in messages.iter().enumerate() {
        if message.role == "tool" {
            steps.push(match take(&mut open, message) {
                Some(id) => Step::Result(at, id),
                None => Step::Stray(at),
            });
            continue;
        }
        steps.extend(open.drain(..).map(|call| Step::Unanswered(call.id)));
        if message.role != "assistant" || message.tool_calls.is_empty() {
            steps.push(Step::Plain(at));
            continue;
        }
        let ids: Vec<String> = (0..)
            .zip(&message.tool_calls)
            .map(|(n, call)| if call.id.is_empty() { made_id(at, n) } else { call.id.decode().into_owned() })
            .collect();
        open.extend(
            ids.iter()
                .zip(&message.tool_calls)
                .map(|(id, call)| Open { id: id.clone(), name: call.name.raw() }),
        );
        steps.push(Step::Calls(at, ids));
    }
    steps.extend(open.into_iter().map(|call| Step::Unanswered(call.id)));
    steps
}

fn take(open: &mut Vec<Open<'_>>, message: &Message<'_>) -> Option<String> {
    let by_id = || {
        let id = message.tool_call_id.decode();
        open.iter().position(|call| !id.is_empty() && call.id == id)
    };
    let by_name = || {
        let name = message.tool_name.raw();
        open.iter().position(|call| !name.is_empty() && call.name == name)
    };
    let at = by_id().or_else(by_name).or(if open.is_empty() { None } else { Some(0) })?;
    Some(open.remove(at).id)
}

/// `c`, four letters for the message, four for the call: the same on every turn, so that the backend's prompt cache
/// stays warm.
fn made_id(message: usize, call: usize) -> String {
    let mut id = String::from("c");
    for number in [message, call] {
        for place in (0..4).rev() {
            let digit = u32::try_from(number / 36usize.pow(place) % 36).unwrap_or(0);
            id.push(char::from_digit(digit, 36).unwrap_or('0'));
        }
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ollama::ChatRequest;

    fn of(messages: &str) -> Vec<Step> {
        let body = format!(r#"{{"model":"m","messages":{messages}}}"#);
        steps(&ChatRequest::parse(body.as_bytes()).unwrap().messages)
    }

    fn calls(at: usize, ids: &[&str]) -> Step {
        Step::Calls(at, ids.iter().map(ToString::to_string).collect())
    }

    fn result(at: usize, id: &str) -> Step {
        Step::Result(at, id.to_string())
    }

    const TWO_CALLS: &str =
        r#"{"role":"assistant","tool_calls":[{"function":{"name":"f"}},{"function":{"name":"g"}}]}"#;

    #[test]
    fn results_without_a_name_take_the_calls_in_order() {
        let steps = of(&format!(r#"[{{"role":"user"}},{TWO_CALLS},{{"role":"tool"}},{{"role":"tool"}}]"#));
        let ids = ["c00010000", "c00010001"];
        assert_eq!(steps, [Step::Plain(0), calls(1, &ids), result(2, ids[0]), result(3, ids[1])]);
    }

    #[test]
    fn results_with_a_name_take_the_call_of_that_function() {
        let steps = of(&format!(
            r#"[{TWO_CALLS},{{"role":"tool","tool_name":"g"}},{{"role":"tool","tool_name":"f"}}]"#
        ));
        assert_eq!(steps[1..], [result(1, "c00000001"), result(2, "c00000000")]);
    }

    #[test]
    fn an_identifier_comes_before_a_name() {
        let steps = of(
            r#"[{"role":"assistant","tool_calls":[{"id":"a","function":{"name":"f"}},{"id":"b","function":{"name":"f"}}]},
                {"role":"tool","tool_call_id":"b","tool_name":"f"},{"role":"tool","tool_name":"f"}]"#,
        );
        assert_eq!(steps, [calls(0, &["a", "b"]), result(1, "b"), result(2, "a")]);
    }

    #[test]
    fn calls_without_a_result_are_answered_and_results_without_a_call_are_kept() {
        let steps = of(&format!(
            r#"[{{"role":"tool"}},{TWO_CALLS},{{"role":"tool"}},{{"role":"user"}},{TWO_CALLS}]"#
        ));
        let unanswered = |id: &str| Step::Unanswered(id.to_string());
        assert_eq!(
            steps,
            [
                Step::Stray(0),
                calls(1, &["c00010000", "c00010001"]),
                result(2, "c00010000"),
                unanswered("c00010001"),
                Step::Plain(3),
                calls(4, &["c00040000", "c00040001"]),
                unanswered("c00040000"),
                unanswered("c00040001"),
            ]
        );
    }
}
