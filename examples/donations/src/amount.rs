//! Money: whole cents, and never a binary fraction on the way.

use rust_decimal::{Decimal, prelude::ToPrimitive};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use serde_json::value::RawValue;

/// A billion, in cents.
const MAX: i64 = 100_000_000_000;

/// A number of this many digits is a `Decimal` without rounding.
const EXACT_DIGITS: usize = 28;

/// An amount above 0. In JSON it is a number like `12.5`, in the database it is cents.
#[derive(Clone, Copy, Debug, PartialEq, sqlx::Type)]
#[sqlx(transparent)]
pub(crate) struct Amount(i64);

impl Amount {
    /// Reads a number as JSON writes it.
    fn parse(text: &str) -> Option<Self> {
        if text.len() > EXACT_DIGITS {
            return None;
        }
        let number = Decimal::from_str_exact(text).or_else(|_| Decimal::from_scientific(text));
        let cents = number.ok()?.checked_mul(Decimal::ONE_HUNDRED)?;
        let cents = if cents.is_integer() { cents.to_i64()? } else { return None };
        (1..=MAX).contains(&cents).then_some(Self(cents))
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The text as it was sent: a float would have lost some of it by now.
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Self::parse(raw.get()).ok_or_else(|| {
            de::Error::custom(
                "the amount must be a number above 0 and at most 1000000000, with at most 2 decimals",
            )
        })
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = Decimal::new(self.0, 2).normalize().to_string();
        RawValue::from_string(text).map_err(ser::Error::custom)?.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cent_comes_back_as_it_was_sent() {
        for text in
            ["0.01", "0.1", "0.29", "1.1", "12.5", "19.99", "7", "999999999.99", "1000000000"]
        {
            let amount: Amount = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&amount).unwrap(), text);
        }
        for cents in (1..2_000_000).step_by(7) {
            let text = serde_json::to_string(&Amount(cents)).unwrap();
            assert_eq!(serde_json::from_str::<Amount>(&text).unwrap(), Amount(cents), "{text}");
        }
    }

    #[test]
    fn equal_numbers_are_equal_amounts() {
        for text in ["12.5", "12.50", "12.500", "1.25e1", "1.25E+1", "125e-1", "1250e-2"] {
            assert_eq!(Amount::parse(text), Some(Amount(1250)), "{text}");
        }
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        for text in [
            "0",
            "-0",
            "0.0",
            "-5",
            "-0.01",
            "12.345",
            "0.001",
            "1e-3",
            "1e-400",
            "1000000000.01",
            "1e10",
            "1e28",
            "1e400",
            "1e4294967296",
            "9223372036854775807",
            "184467440737095516.16",
            "\"12.5\"",
            "null",
            "true",
            "[12.5]",
            "{}",
            "NaN",
            "Infinity",
            "0.010000000000000000000000000000000000001",
            "12.500000000000000000000000000001e0",
        ] {
            assert!(serde_json::from_str::<Amount>(text).is_err(), "{text}");
        }
    }
}
