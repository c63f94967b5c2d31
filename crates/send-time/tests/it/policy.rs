//! Quiet hours, spread and exploration.

use proptest::prelude::*;
use send_time::policy::{Name, Quiet, explored_hour, explores, moment_ms};

#[test]
fn quiet_hours_pass_midnight() {
    let night = Quiet { from_hour: 22, until_hour: 7 };
    let quiet: Vec<u8> = (0..24).filter(|hour| night.covers(*hour)).collect();
    assert_eq!(quiet, [0, 1, 2, 3, 4, 5, 6, 22, 23]);
    let none = Quiet { from_hour: 5, until_hour: 5 };
    assert!((0..24).all(|hour| !none.covers(hour)));
}

#[test]
fn a_campaign_is_spread_evenly_and_the_same_each_time() {
    let names = (0..60_000).map(|recipient| Name { recipient, campaign: 7 });
    let mut minutes = [0_u32; 60];
    for name in names {
        let at_ms = moment_ms(name, 1_000, 3_601_000);
        assert_eq!(at_ms, moment_ms(name, 1_000, 3_601_000));
        minutes[usize::try_from((at_ms - 1_000) / 60_000).unwrap()] += 1;
    }
    // 1,000 each, give or take five standard deviations.
    assert!(minutes.iter().all(|count| (840..1_160).contains(count)), "{minutes:?}");
}

#[test]
fn a_share_explores_and_all_open_hours_are_drawn() {
    let quiet = Some(Quiet { from_hour: 22, until_hour: 6 });
    let mut hours = [0_u32; 24];
    let mut explored = 0;
    for recipient in 0..100_000 {
        let name = Name { recipient, campaign: 3 };
        if explores(name, 0.05) {
            explored += 1;
            hours[usize::from(explored_hour(name, quiet).unwrap())] += 1;
        }
    }
    assert!((4_650..5_350).contains(&explored), "{explored}");
    // Of 5,000 over 16 hours.
    assert!((6..22).all(|hour| (220..410).contains(&hours[hour])), "{hours:?}");
    assert_eq!(hours[..6].iter().chain(&hours[22..]).sum::<u32>(), 0);
}

proptest! {
    #[test]
    fn a_moment_lies_in_its_span(recipient: u64, campaign: u64, start in -1_000_000_000_000_i64..4_000_000_000_000, length in 0_i64..100_000_000) {
        let at = moment_ms(Name { recipient, campaign }, start, start + length);
        prop_assert!(at >= start && (at < start + length || length == 0));
        let name = Name { recipient, campaign };
        prop_assert_eq!((explores(name, 0.0), explores(name, 1.0)), (false, true));
    }
}
