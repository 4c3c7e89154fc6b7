//! Alternating rounds: every contender runs once per round in one process, ratios are formed per round, and medians are
//! shown. This kind of machine drifts by half from minute to minute; ratios within a round do not.

/// One thing that is measured.
pub struct Contender<'a> {
    /// What the table calls it.
    pub name: &'static str,
    /// Operations per round.
    pub operations: u64,
    /// Before each batch, not measured.
    pub before: Box<dyn FnMut() + 'a>,
    /// Runs that many operations.
    pub run: Box<dyn FnMut(u64) + 'a>,
    /// After each batch, not measured.
    pub after: Box<dyn FnMut() + 'a>,
}

impl<'a> Contender<'a> {
    /// Without anything before or after.
    pub fn new(name: &'static str, operations: u64, run: impl FnMut(u64) + 'a) -> Self {
        Self { name, operations, before: Box::new(|| {}), run: Box::new(run), after: Box::new(|| {}) }
    }

    /// With something before each batch.
    pub fn before(mut self, f: impl FnMut() + 'a) -> Self {
        self.before = Box::new(f);
        self
    }

    /// With something after each batch.
    pub fn after(mut self, f: impl FnMut() + 'a) -> Self {
        self.after = Box::new(f);
        self
    }
}

/// A bound on the ratio of two contenders.
pub struct Budget {
    /// What is bounded.
    pub what: &'static str,
    /// What it is compared with.
    pub beside: &'static str,
    /// The most it may be, as a multiple.
    pub most: f64,
}

/// Nanoseconds per operation: one row per contender, one column per round.
pub struct Results {
    names: Vec<&'static str>,
    rows: Vec<Vec<f64>>,
}

/// Runs all of them `rounds` times in turn, after two rounds that do not count.
pub fn run(contenders: &mut [Contender<'_>], rounds: usize) -> Results {
    let names = contenders.iter().map(|c| c.name).collect();
    Results::of(names, rounds, || contenders.iter_mut().map(once).collect())
}

/// One batch: nanoseconds per operation.
pub fn once(contender: &mut Contender<'_>) -> f64 {
    (contender.before)();
    let begin = thread_cpu_ns();
    (contender.run)(contender.operations);
    let spent = thread_cpu_ns() - begin;
    (contender.after)();
    spent as f64 / contender.operations as f64
}

impl Results {
    /// Of so many rounds, after two that do not count.
    pub fn of(names: Vec<&'static str>, rounds: usize, mut round: impl FnMut() -> Vec<f64>) -> Self {
        let mut rows = vec![Vec::new(); names.len()];
        for number in 0..rounds + 2 {
            let measured = round();
            if number >= 2 {
                rows.iter_mut().zip(measured).for_each(|(row, ns)| row.push(ns));
            }
        }
        Self { names, rows }
    }

    fn row(&self, name: &str) -> &[f64] {
        let at = self.names.iter().position(|n| *n == name);
        at.map_or_else(|| panic!("no contender is called {name}"), |at| &self.rows[at])
    }

    /// Median over the rounds of the ratio of two contenders.
    pub fn ratio(&self, what: &str, beside: &str) -> f64 {
        median(self.row(what).iter().zip(self.row(beside)).map(|(a, b)| a / b).collect())
    }

    /// The table of nanoseconds and ratios, and the table of budgets.
    pub fn print(&self, base: &str, budgets: &[Budget]) {
        println!("| what | ns, median | beside `{base}` |\n| --- | ---: | ---: |");
        for name in &self.names {
            let ns = median(self.row(name).to_vec());
            println!("| {name} | {ns:.2} | {:.2} × |", self.ratio(name, base));
        }
        println!("\n| what | beside | budget | measured | |\n| --- | --- | ---: | ---: | --- |");
        for Budget { what, beside, most } in budgets {
            let measured = self.ratio(what, beside);
            let verdict = if measured <= *most { "held" } else { "MISSED" };
            println!("| {what} | {beside} | {most:.2} × | {measured:.2} × | {verdict} |");
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn thread_cpu_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: time is a valid timespec, and this clock exists on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
