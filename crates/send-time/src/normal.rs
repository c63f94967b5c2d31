//! The normal distribution.

/// The probability that a standard normal variable is below `x`: (1 + erf(x / sqrt 2)) / 2, as SQL would write it.
pub fn below(x: f64) -> f64 {
    (1.0 + erf(x / std::f64::consts::SQRT_2)) / 2.0
}

/// The error function: erf x = 2/sqrt(pi) e^(-x^2) sum 2^n x^(2n+1) / (1 3 5 ... (2n+1)) (Abramowitz and Stegun
/// 7.1.6). All terms have one sign, so that nothing cancels; from 6 on it is 1 to the last bit.
pub fn erf(x: f64) -> f64 {
    if x.is_nan() {
        return x;
    }
    if x.abs() >= 6.0 {
        return x.signum();
    }
    let (mut term, mut sum) = (x, x);
    for n in 1..TERMS {
        term *= 2.0 * x * x / (2 * n + 1) as f64;
        sum += term;
    }
    // Rounding may carry what is 1 to its last bits past it, and a probability with it.
    (std::f64::consts::FRAC_2_SQRT_PI * (-x * x).exp() * sum).clamp(-1.0, 1.0)
}

/// At 6 the terms have fallen below the last bit of the sum.
const TERMS: u32 = 160;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        // Abramowitz and Stegun, table 7.1, and NIST's digital library for the last ones.
        for (x, wanted) in [
            (0.0, 0.0),
            (0.1, 0.112_462_916_018_284_9),
            (0.5, 0.520_499_877_813_046_5),
            (1.0, 0.842_700_792_949_714_9),
            (2.0, 0.995_322_265_018_952_7),
            (3.0, 0.999_977_909_503_001_4),
            (5.9, 1.0),
            (6.0, 1.0),
            (40.0, 1.0),
        ] {
            assert!((erf(x) - wanted).abs() < 1e-14, "erf {x} = {}", erf(x));
            assert_eq!(erf(-x), -erf(x));
        }
        assert!(erf(f64::NAN).is_nan());
        assert_eq!(below(0.0), 0.5);
        assert!((0..60_000).all(|n| (0.0..=1.0).contains(&below(f64::from(n) / 5_000.0))));
        assert!((below(1.959_963_984_540_054) - 0.975).abs() < 1e-14);
    }
}
