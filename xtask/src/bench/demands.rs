//! The demands on figures, and whether they are met.

use super::report::Figure;

/// One condition on one figure.
pub(super) struct Demand {
    name: &'static str,
    what: What,
}

enum What {
    Least(f64),
    Most(f64),
    LeastRatio(f64),
    MostRatio(f64),
    /// No more than this figure times this factor and so much.
    MostTimes(&'static str, f64, f64),
    /// No more than these figures together and so much.
    MostOf(&'static [&'static str], f64),
}
use What::{Least, LeastRatio, Most, MostOf, MostRatio, MostTimes};

const DEMANDS: &[Demand] = &[
    demand("produce-1k-1", LeastRatio(0.6)),
    demand("produce-1k-1", Least(800.0)),
    demand("produce-1k-8", LeastRatio(0.6)),
    demand("produce-1k-8", Least(1500.0)),
    demand("produce-100b-1", Least(1_500_000.0)),
    demand("produce-100b-8", Least(3_000_000.0)),
    demand("four-producers-1k", LeastRatio(1.0)),
    demand("four-producers-1k-p99", MostRatio(3.0)),
    demand("four-producers-100b", LeastRatio(1.0)),
    demand("four-producers-100b-p99", MostRatio(3.0)),
    demand("consume-1k", LeastRatio(0.6)),
    demand("consume-1k", Least(2000.0)),
    demand("consume-1k-client-busy", Least(0.9)),
    demand("consume-1k-group", LeastRatio(0.6)),
    demand("consume-1k-group-client-busy", Least(0.9)),
    demand("single-all", MostOf(&["single-all-fdatasync", "single-all-round-trip"], 0.05)),
    demand("single-all-rate", Least(5000.0)),
    demand("single-leader", MostOf(&["single-leader-round-trip"], 0.04)),
    demand("single-all-50", Least(50_000.0)),
    demand("end-to-end", Most(0.8)),
    demand("end-to-end-p99", Most(5.0)),
    demand("crowd", MostRatio(1.1)),
    demand("partitions-1000-leader", LeastRatio(0.85)),
    demand("partitions-1000-fixed", LeastRatio(0.99)), // In full, but for what the clock rounds away.
    demand("partitions-1000-fixed-p99", Most(10.0)),
    demand("partitions-1000-saturated", Least(300.0)),
    demand("partitions-1000-consume", LeastRatio(0.6)),
    demand("partitions-1000-consume-first-record", Most(1000.0)),
    demand("partitions-10000-consume", LeastRatio(0.6)),
    demand("partitions-10000-consume-first-record", Most(1000.0)),
    demand("partitions-10000-end-to-end", MostTimes("partitions-10000-end-to-end-of-1", 1.5, 0.2)),
    demand("partitions-10000-trickle", Most(1.0)),
    demand("partitions-10000-trickle-client", Most(1.0)),
    demand("idle", Most(20.0)),
    demand("idle-1000", Most(64.0)),
    demand("scrape-1000", Most(50.0)),
    demand("start", Most(100.0)),
    demand("restart-10g", Most(2000.0)),
    demand("lookup", Most(2.0)),
];

const fn demand(name: &'static str, what: What) -> Demand {
    Demand { name, what }
}

impl Demand {
    /// The demands on this figure, in words, and whether it misses one.
    pub(super) fn of(figure: &Figure, all: &[Figure]) -> (String, bool) {
        let demands = || DEMANDS.iter().filter(|demand| demand.name == figure.name);
        let words: Vec<String> = demands().map(|demand| demand.what.words(all)).collect();
        let missed = demands().any(|demand| !demand.what.is_met_by(figure, all));
        (words.join(", "), missed)
    }
}

impl What {
    fn words(&self, all: &[Figure]) -> String {
        match self {
            Least(least) => format!(">= {least}"),
            Most(most) => format!("<= {most}"),
            LeastRatio(least) => format!("ratio >= {least}"),
            MostRatio(most) => format!("ratio <= {most}"),
            MostOf(..) | MostTimes(..) => self.most(all).map(|most| format!("<= {most:.3}")).unwrap_or_default(),
        }
    }

    fn is_met_by(&self, figure: &Figure, all: &[Figure]) -> bool {
        match self {
            Least(least) => *least <= figure.value,
            Most(most) => figure.value <= *most,
            LeastRatio(least) => figure.ratio.is_some_and(|ratio| *least <= ratio),
            MostRatio(most) => figure.ratio.is_some_and(|ratio| ratio <= *most),
            MostOf(..) | MostTimes(..) => self.most(all).is_some_and(|most| figure.value <= most),
        }
    }

    fn most(&self, all: &[Figure]) -> Option<f64> {
        let value = |name: &&str| all.iter().find(|figure| figure.name == **name).map(|figure| figure.value);
        match self {
            MostOf(names, plus) => Some(names.iter().map(value).sum::<Option<f64>>()? + plus),
            MostTimes(name, factor, plus) => Some(value(name)? * factor + plus),
            _ => None,
        }
    }
}
