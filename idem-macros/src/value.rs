//! Option values: expressions → durations, sizes, choices, statuses. Each error says what to write.

use std::{str::FromStr, time::Duration};

use bytesize::ByteSize;
use http::HeaderName;
use humantime::DurationError;
use proc_macro2::Span;
use syn::{Error, Expr, ExprLit, Lit, LitStr, Result, spanned::Spanned};

use crate::errors::hint;

/// A value and where it is written.
pub(crate) struct Given<T> {
    pub(crate) value: T,
    pub(crate) span: Span,
}

fn given<T>(expr: &Expr, value: T) -> Given<T> {
    Given { value, span: expr.span() }
}

fn literal(expr: &Expr) -> Option<&Lit> {
    match expr {
        Expr::Lit(ExprLit { lit, .. }) => Some(lit),
        Expr::Group(group) => literal(&group.expr),
        _ => None,
    }
}

/// The string literal that an expression is.
pub(crate) fn string(expr: &Expr) -> Option<&LitStr> {
    match literal(expr) {
        Some(Lit::Str(text)) => Some(text),
        _ => None,
    }
}

fn text(expr: &Expr, write: &str) -> Result<String> {
    string(expr).map(LitStr::value).ok_or_else(|| Error::new_spanned(expr, write))
}

/// A duration, or one that the engine cuts to the longest there is.
pub(crate) fn ttl(name: &str, expr: &Expr) -> Result<Given<Duration>> {
    match string(expr) {
        Some(text) if text.value() == "forever" => Ok(given(expr, Duration::MAX)),
        _ => duration_like(name, expr, "\"30s\", \"1h 30m\" or \"forever\""),
    }
}

pub(crate) fn duration(name: &str, expr: &Expr) -> Result<Given<Duration>> {
    duration_like(name, expr, "\"30s\" or \"1h 30m\"")
}

fn duration_like(name: &str, expr: &Expr, others: &str) -> Result<Given<Duration>> {
    let write = format!("`{name}` is a duration; write `{name} = \"24h\"`, {others}");
    let text = text(expr, &write)?;
    let value = humantime::parse_duration(&text).map_err(|error| match error {
        DurationError::UnknownUnit { unit, .. } if !unit.is_empty() => {
            Error::new_spanned(expr, format!("`{unit}` is no unit of time; {write}"))
        }
        _ => Error::new_spanned(expr, &write),
    })?;
    if value < Duration::from_millis(1) {
        let message = format!("`{name}` is shorter than a millisecond; give it a longer duration");
        return Err(Error::new_spanned(expr, message));
    }
    Ok(given(expr, value))
}

pub(crate) fn size(name: &str, expr: &Expr) -> Result<Given<usize>> {
    let write = format!("`{name}` is a size in bytes; write `{name} = \"2MiB\"` or a number");
    let error = || Error::new_spanned(expr, &write);
    let bytes = match literal(expr) {
        Some(Lit::Int(number)) => number.base10_parse().map_err(|_| error())?,
        Some(Lit::Str(text)) => ByteSize::from_str(&text.value()).map_err(|_| error())?.as_u64(),
        _ => return Err(error()),
    };
    Ok(given(expr, usize::try_from(bytes).map_err(|_| error())?))
}

pub(crate) fn number(name: &str, expr: &Expr) -> Result<Given<u32>> {
    let error = || {
        let message = format!("`{name}` is a number above 0; write `{name} = 3`, without quotes");
        Error::new_spanned(expr, message)
    };
    match literal(expr) {
        Some(Lit::Int(number)) => match number.base10_parse() {
            Ok(value) if value > 0 => Ok(given(expr, value)),
            _ => Err(error()),
        },
        _ => Err(error()),
    }
}

pub(crate) fn boolean(name: &str, expr: &Expr) -> Result<Given<bool>> {
    match literal(expr) {
        Some(Lit::Bool(literal)) => Ok(given(expr, literal.value)),
        _ => Err(Error::new_spanned(
            expr,
            format!("write `{name} = true` or `{name} = false`, without quotes"),
        )),
    }
}

pub(crate) fn choice<T: Copy>(name: &str, expr: &Expr, among: &[(&str, T)]) -> Result<Given<T>> {
    let names: Vec<_> = among.iter().map(|(it, _)| format!("\"{it}\"")).collect();
    let names = names.join(", ");
    let names =
        names.rsplit_once(", ").map_or(names.clone(), |(most, last)| format!("{most} or {last}"));
    let write = format!("`{name}` is {names}");
    let text = text(expr, &write)?;
    let given_choice = among.iter().find(|(it, _)| *it == text);
    let choice = given_choice.ok_or_else(|| {
        let hint = hint(&text, among.iter().map(|(it, _)| *it));
        Error::new_spanned(expr, format!("{write}{hint}"))
    })?;
    Ok(given(expr, choice.1))
}

pub(crate) fn header(name: &str, expr: &Expr) -> Result<Given<String>> {
    let write = format!("`{name}` is a header name; write `{name} = \"Idempotency-Key\"`");
    let parsed = HeaderName::from_str(&text(expr, &write)?);
    let value = parsed.map_err(|_| Error::new_spanned(expr, &write))?;
    Ok(given(expr, value.as_str().to_owned()))
}

pub(crate) fn name(name: &str, expr: &Expr) -> Result<Given<String>> {
    let write = format!("write `{name} = \"payments.create\"`");
    let value = text(expr, &write)?;
    if value.trim().is_empty() {
        return Err(Error::new_spanned(expr, format!("an empty `{name}` names nothing; {write}")));
    }
    Ok(given(expr, value))
}

/// One step of a `keep` rule: these statuses are final, or are not.
#[derive(Debug, PartialEq)]
pub(crate) struct KeepStep {
    pub(crate) first: u16,
    pub(crate) last: u16,
    pub(crate) is_final: bool,
}

/// `"<500"`, `"2xx"`, `"200-299"`, `"404"`, several separated by commas, and `!` before what is taken
/// away again.
pub(crate) fn keep(name: &str, expr: &Expr) -> Result<Given<Vec<KeepStep>>> {
    let write = format!(
        "`{name}` says which statuses are final: `{name} = \"<500\"`, \"2xx\", \"200-299\", \"404\", \
         several separated by commas, `!` before what is taken away: \"<500, !429\""
    );
    let mut steps = Vec::new();
    for step in text(expr, &write)?.split(',').map(str::trim) {
        let error = || Error::new_spanned(expr, format!("`{step}` names no statuses; {write}"));
        steps.push(keep_step(step).ok_or_else(error)?);
    }
    if !steps.iter().any(|it| it.is_final) {
        return Err(Error::new_spanned(expr, format!("no status would be final; {write}")));
    }
    Ok(given(expr, steps))
}

fn keep_step(text: &str) -> Option<KeepStep> {
    let (text, is_final) = match text.strip_prefix('!') {
        Some(rest) => (rest.trim_start(), false),
        None => (text, true),
    };
    let status = |text: &str| match text.trim().parse() {
        Ok(status @ 100..=999) => Some::<u16>(status),
        _ => None,
    };
    let (first, last) = if let Some(above) = text.strip_prefix('<') {
        (200, status(above)?.checked_sub(1).filter(|it| *it >= 200)?)
    } else if let Some(class) = text.strip_suffix("xx") {
        let first = status(&format!("{class}00"))?;
        (first, first + 99)
    } else if let Some((first, last)) = text.split_once('-') {
        (status(first)?, status(last)?)
    } else {
        (status(text)?, status(text)?)
    };
    (first <= last).then_some(KeepStep { first, last, is_final })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keep_rules_are_read() {
        let step = |first, last, is_final| Some(KeepStep { first, last, is_final });
        assert_eq!(keep_step("<500"), step(200, 499, true));
        assert_eq!(keep_step("2xx"), step(200, 299, true));
        assert_eq!(keep_step("!429"), step(429, 429, false));
        assert_eq!(keep_step("! 200 - 204"), step(200, 204, false));
        for wrong in
            ["", "5", "<100", "<200", "299-200", "xx", "20x", "abc", "1000", "!", "<", "-1"]
        {
            assert_eq!(keep_step(wrong), None, "{wrong}");
        }
    }
}
