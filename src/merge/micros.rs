//! Microseconds as text into nanoseconds and back, in integers: a double has too few digits for a time since 1970.

/// Times beyond this, in nanoseconds, are nobody's: ± 146 years.
const FURTHEST: i128 = 1 << 62;

/// A `ts` or `dur`: a number, or a string of one. What is finer than a nanosecond is rounded, half away from zero.
/// `None`: it is no number, or further than ± 146 years.
#[inline]
pub(super) fn parse(token: &[u8]) -> Option<i64> {
    plain(token).or_else(|| general(token))
}

/// At most fifteen digits, a point and up to three decimals: what nearly all are.
#[inline]
fn plain(token: &[u8]) -> Option<i64> {
    let point = token.iter().position(|byte| *byte == b'.').unwrap_or(token.len());
    let decimals = token.get(point + 1..).unwrap_or_default();
    if point == 0 || point > 15 || decimals.len() > 3 || (decimals.is_empty() && point < token.len()) {
        return None;
    }
    let mut ns = 0i64;
    for byte in token[..point].iter().chain(decimals) {
        if !byte.is_ascii_digit() {
            return None;
        }
        ns = ns * 10 + i64::from(byte - b'0');
    }
    Some(ns * [1000, 100, 10, 1][decimals.len()])
}

fn general(token: &[u8]) -> Option<i64> {
    let text = match token {
        [b'"', inner @ .., b'"'] => inner,
        other => other,
    };
    let (is_negative, text) = match text {
        [b'-', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let mut digits: i128 = 0;
    // How many decimals stand in `digits`; below zero if whole digits did not fit.
    let (mut decimals, mut seen, mut is_fraction) = (0i32, 0, false);
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        match byte {
            b'0'..=b'9' => {
                seen += 1;
                if digits < 1 << 100 {
                    digits = digits * 10 + i128::from(byte - b'0');
                    decimals += i32::from(is_fraction);
                } else {
                    decimals -= i32::from(!is_fraction);
                }
            }
            b'.' if !is_fraction => is_fraction = true,
            b'e' | b'E' => break,
            _ => return None,
        }
        at += 1;
    }
    let exponent = match text.get(at + 1..) {
        _ if seen == 0 => return None,
        None | Some([]) if at < text.len() => return None,
        None | Some([]) => 0,
        Some(exponent) => std::str::from_utf8(exponent).ok()?.parse::<i16>().ok()?.into(),
    };
    // Nanoseconds are digits × 10^power.
    let power = exponent - decimals + 3;
    let ns = if digits == 0 {
        0
    } else if power >= 0 {
        digits.checked_mul(10i128.checked_pow(power.unsigned_abs())?)?
    } else {
        match 10i128.checked_pow(power.unsigned_abs()) {
            Some(divisor) => (digits + divisor / 2) / divisor,
            None => 0,
        }
    };
    let ns = if is_negative { -ns } else { ns };
    (-FURTHEST..=FURTHEST).contains(&ns).then_some(ns as i64)
}

/// Writes nanoseconds as microseconds with exactly three decimals.
#[inline]
pub(super) fn write(ns: i64, out: &mut Vec<u8>) {
    if ns < 0 {
        out.push(b'-');
    }
    let ns = ns.unsigned_abs();
    out.extend_from_slice(itoa::Buffer::new().format(ns / 1000).as_bytes());
    let rest = (ns % 1000) as u16;
    let digit = |digit: u16| b'0' + (digit % 10) as u8;
    out.extend_from_slice(&[b'.', digit(rest / 100), digit(rest / 10), digit(rest)]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_way_of_writing_a_time_is_read_exactly() {
        for (text, ns) in [
            ("0", 0),
            ("-0.001", -1),
            ("4909247078079.699", 4_909_247_078_079_699),
            ("12.3456", 12_346),
            ("12.34549999999999999999999999999999999999999", 12_345),
            ("-12.3455", -12_346),
            ("1.5e3", 1_500_000),
            ("15E-1", 1_500),
            ("1e-400", 0),
            ("\"17.25\"", 17_250),
            ("1795766273148000", 1_795_766_273_148_000_000),
        ] {
            assert_eq!(parse(text.as_bytes()), Some(ns), "{text}");
        }
        for text in ["", "-", ".", "null", "NaN", "1e", "1e99", "1.2.3", "1 ", "\"\"", "9999999999999999999999", "0x10"]
        {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(ns in -(1i64 << 62)..1i64 << 62) {
            let mut out = Vec::new();
            write(ns, &mut out);
            prop_assert_eq!(parse(&out), Some(ns));
            prop_assert_eq!(general(&out), Some(ns));
        }

        #[test]
        fn no_text_panics(text: Vec<u8>, number in "-?[0-9]{0,60}\\.?[0-9]{0,60}(e-?[0-9]{0,6})?") {
            parse(&text);
            prop_assert_eq!(parse(number.as_bytes()), general(number.as_bytes()), "{}", number);
        }
    }
}
