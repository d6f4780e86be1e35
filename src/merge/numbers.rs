//! Numbers and texts that have an order, and numbers that are counted.

use std::cmp::Ordering;

use serde_json::{Number, Value};

/// The base and both differences to it: `None` where they are no numbers, `Some(None)` where no JSON number holds the sum.
pub(super) fn counted(base: Option<&Value>, mine: &Value, theirs: &Value) -> Option<Option<Value>> {
    let zero = Number::from(0);
    let base = match base {
        None | Some(Value::Null) => &zero,
        Some(base) => base.as_number()?,
    };
    let (mine, theirs) = (mine.as_number()?, theirs.as_number()?);
    Some(match (whole(base), whole(mine), whole(theirs)) {
        // Of 65 bits each, so the sum fits.
        (Some(base), Some(mine), Some(theirs)) => Number::from_i128(mine + theirs - base).map(Value::Number),
        // Mine and theirs first, so that it does not matter which is which.
        _ => (base.as_f64().zip(mine.as_f64()).zip(theirs.as_f64()))
            .and_then(|((base, mine), theirs)| Number::from_f64(mine + theirs - base))
            .map(Value::Number),
    })
}

/// Which of two comes first; `None` where they have no order.
pub(super) fn compared(one: &Value, other: &Value) -> Option<Ordering> {
    match (one, other) {
        (Value::String(one), Value::String(other)) => Some(one.cmp(other)),
        (Value::Number(one), Value::Number(other)) => {
            let order = match (whole(one), whole(other)) {
                (Some(one), Some(other)) => one.cmp(&other),
                _ => one.as_f64()?.partial_cmp(&other.as_f64()?)?,
            };
            // `1` and `1.0`: one of them, whichever side it is of.
            Some(order.then_with(|| one.to_string().cmp(&other.to_string())))
        }
        _ => None,
    }
}

fn whole(number: &Number) -> Option<i128> {
    number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn whole_numbers_are_added_exactly_or_not_at_all() {
        let counted = |base: Value, mine: Value, theirs: Value| counted(Some(&base), &mine, &theirs);

        assert_eq!(counted(json!(5), json!(7), json!(4)), Some(Some(json!(6))));
        assert_eq!(counted(json!(null), json!(1), json!(1)), Some(Some(json!(2))));
        assert_eq!(
            counted(json!(u64::MAX), json!(u64::MAX - 1), json!(u64::MAX - 2)),
            Some(Some(json!(u64::MAX - 3)))
        );
        assert_eq!(counted(json!(0), json!(u64::MAX), json!(1)), Some(None));
        assert_eq!(counted(json!(0), json!(i64::MIN), json!(-1)), Some(None));
        assert_eq!(counted(json!(1), json!(1.5), json!(2)), Some(Some(json!(2.5))));
        assert_eq!(counted(json!(-1e308), json!(1e308), json!(1e308)), Some(None));
        assert_eq!(counted(json!("1"), json!(1), json!(2)), None);
    }

    #[test]
    fn what_has_an_order_is_compared() {
        assert_eq!(compared(&json!(u64::MAX), &json!(u64::MAX - 1)), Some(Ordering::Greater));
        assert_eq!(compared(&json!(-1), &json!(0.5)), Some(Ordering::Less));
        assert_eq!(compared(&json!("2026-01-02"), &json!("2026-01-10")), Some(Ordering::Less));
        assert_eq!(compared(&json!("1"), &json!(1)), None);
        assert_eq!(compared(&json!(1), &json!(1.0)), compared(&json!(1.0), &json!(1)).map(Ordering::reverse));
    }
}
