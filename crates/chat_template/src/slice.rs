//! Python's slices.

use minijinja::{
    Error, ErrorKind, Value,
    value::{Tuple, ValueKind, from_args},
};

/// `value[start:stop:step]`, each of the three a number or none.
///
/// # Errors
/// [`ErrorKind::InvalidOperation`] for a value that cannot be sliced, a bound that is no integer, or a step of zero.
pub(crate) fn call(value: &Value, arguments: &[Value]) -> Result<Value, Error> {
    let (start, stop, step): (Option<i64>, Option<i64>, Option<i64>) = from_args(arguments)?;
    let step = step.unwrap_or(1);
    if step == 0 {
        return Err(Error::new(ErrorKind::InvalidOperation, "the step of a slice is zero"));
    }
    if let Some(text) = value.as_str() {
        let letters: Vec<char> = text.chars().collect();
        let chosen: String = positions(start, stop, step, letters.len()).filter_map(|at| letters.get(at)).collect();
        return Ok(Value::from(chosen));
    }
    if !matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable) {
        return Err(Error::new(ErrorKind::InvalidOperation, "the value cannot be sliced"));
    }
    let items: Vec<Value> = value.try_iter()?.collect();
    let chosen: Vec<Value> =
        positions(start, stop, step, items.len()).filter_map(|at| items.get(at).cloned()).collect();
    let is_tuple = value.downcast_object_ref::<Tuple>().is_some();
    Ok(if is_tuple { Value::from_object(Tuple::from(chosen)) } else { Value::from(chosen) })
}

/// The positions a slice takes of a sequence of `length` items, as CPython's `PySlice_AdjustIndices` counts them.
fn positions(start: Option<i64>, stop: Option<i64>, step: i64, length: usize) -> impl Iterator<Item = usize> {
    let length = i128::try_from(length).unwrap_or(i128::MAX);
    let step = i128::from(step);
    // Walking down, one before the first item is a position too: it lets the first item be the last one taken.
    let (lowest, highest) = if step > 0 { (0, length) } else { (-1, length - 1) };
    let adjust = |at: i64| {
        let at = i128::from(at);
        (if at < 0 { at + length } else { at }).clamp(lowest, highest)
    };
    let (first, end) = if step > 0 { (lowest, highest) } else { (highest, lowest) };
    let (start, stop) = (start.map_or(first, adjust), stop.map_or(end, adjust));
    let within = move |at: &i128| if step > 0 { *at < stop } else { *at > stop };
    std::iter::successors(Some(start), move |at| Some(at + step))
        .take_while(within)
        .filter_map(|at| usize::try_from(at).ok())
}

#[cfg(test)]
mod tests {
    use super::positions;

    #[test]
    fn positions_are_those_of_python() {
        let list = |start, stop, step, length| positions(start, stop, step, length).collect::<Vec<_>>();
        assert_eq!(list(None, None, -1, 0), [0_usize; 0]);
        assert_eq!(list(None, None, -1, 3), [2, 1, 0]);
        assert_eq!(list(Some(5), Some(2), -1, 6), [5, 4, 3]);
        assert_eq!(list(Some(-2), None, 1, 3), [1, 2]);
        assert_eq!(list(None, Some(-5), 1, 3), [0_usize; 0]);
        assert_eq!(list(Some(i64::MIN), Some(i64::MAX), 2, 3), [0, 2]);
        assert_eq!(list(Some(i64::MAX), Some(i64::MIN), i64::MIN, 3), [2]);
    }
}
