//! A campaign whose readers are known, through `mailbeacon up`: what the views report is close to the truth, and what
//! a naive counter would report is not.

use loadtest::campaign::{self, CampaignOptions};

use crate::up::Up;

#[test]
fn reported_rates_are_those_of_people() {
    let dir = testkit::fresh_dir("campaign");
    let up = Up::start(dir.path(), &["--no-geo"]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for seed in [1, 2] {
        let options = CampaignOptions {
            url: up.edge.clone(),
            keys: dir.path().join(&up.keys),
            clickhouse: up.clickhouse.clone(),
            database: "mailbeacon".to_owned(),
            clickhouse_user: String::new(),
            clickhouse_password: String::new(),
            recipients: 800,
            seed,
            json: None,
        };
        let outcome = runtime.block_on(campaign::run(&options)).unwrap();
        assert!(outcome.is_close(), "{outcome}");
        let [open, click] = [outcome.open_rate, outcome.click_rate];
        assert!(open.raw > open.truth + 0.2 && click.raw > 2.0 * click.truth, "{outcome}");
        assert!(outcome.corrections > 0, "{outcome}");
    }
}
