//! Draws `results/peers.svg` and `results/hot-id.svg` from the measured table, `results/core.tsv`.

use std::fmt::Write as _;
use std::fs;

const RESULTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/results");

const INK: &str = "#24292f";
const FAINT: &str = "#d0d7de";
const OURS: &str = "#0969da";
const OTHERS: &str = "#8c959f";
const WITHOUT: &str = "#cf222e";

fn main() {
    let table = fs::read_to_string(format!("{RESULTS}/core.tsv")).expect("`core` has written its table");
    let rows: Vec<Row> = table.lines().skip(1).map(Row::read).collect();
    for (name, drawn) in [("peers", peers(&rows)), ("hot-id", hot_id(&rows))] {
        fs::write(format!("{RESULTS}/{name}.svg"), drawn).expect("the results can be written");
    }
}

/// A line of the table.
struct Row {
    scenario: String,
    contender: String,
    figure: f64,
    unit: String,
}

impl Row {
    fn read(line: &str) -> Self {
        let cells: Vec<&str> = line.split('\t').collect();
        Self {
            scenario: cells[0].to_owned(),
            contender: cells[1].to_owned(),
            figure: cells[2].parse().expect("a number"),
            unit: cells[3].to_owned(),
        }
    }
}

struct Drawing(String);

impl Drawing {
    fn new(width: u32, height: u32, title: &str) -> Self {
        let mut drawing = Self(format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
             height=\"{height}\" font-family=\"Helvetica, Arial, sans-serif\" font-size=\"13\" role=\"img\">\n\
             <title>{title}</title>\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
        ));
        drawing.text(20.0, 28.0, "start", "bold", 16, title);
        drawing
    }

    fn text(&mut self, x: f64, y: f64, anchor: &str, weight: &str, size: u32, text: &str) {
        let text = text.replace('&', "&amp;").replace('<', "&lt;");
        self.add(&format!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" font-weight=\"{weight}\" font-size=\"{size}\" \
             fill=\"{INK}\">{text}</text>"
        ));
    }

    fn bar(&mut self, x: f64, y: f64, width: f64, height: f64, colour: &str) {
        self.add(&format!(
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{colour}\" rx=\"2\"/>"
        ));
    }

    fn line(&mut self, points: &[(f64, f64)], colour: &str, width: f64) {
        let points: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        self.add(&format!(
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\"/>",
            points.join(" ")
        ));
    }

    fn dot(&mut self, (x, y): (f64, f64), colour: &str) {
        self.add(&format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" fill=\"{colour}\"/>"));
    }

    fn add(&mut self, element: &str) {
        writeln!(self.0, "{element}").expect("memory takes any text");
    }

    fn done(self) -> String {
        self.0 + "</svg>\n"
    }
}

/// Bars of nanoseconds an operation, on a logarithmic scale, one panel a scenario.
fn peers(rows: &[Row]) -> String {
    const PANELS: [(&str, &str); 3] = [
        ("get", "get, 1,000 ids"),
        ("compare-and-swap", "compare-and-swap, 1,000 ids"),
        ("95 % get, 5 % compare-and-swap", "95 get / 5 compare-and-swap, 1,000 ids"),
    ];
    let panel = |scenario: &str| -> Vec<&Row> {
        let here = rows.iter().filter(|row| row.scenario == scenario);
        // What a look-up can't be cheaper than is no peer.
        here.filter(|row| !row.contender.starts_with("no look-up")).collect()
    };
    let bars: usize = PANELS.iter().map(|(_, scenario)| panel(scenario).len()).sum();
    let height = 70 + PANELS.len() as u32 * 44 + bars as u32 * 22;
    let mut drawing = Drawing::new(880, height, "Nanoseconds an operation (logarithmic, shorter is faster)");
    let (left, right) = (310.0, 800.0);
    let most =
        rows.iter().filter(|row| row.unit == "ns" && PANELS.iter().any(|(_, name)| *name == row.scenario));
    let most = most.map(|row| row.figure).fold(100.0, f64::max);
    let scale = |figure: f64| (figure / 10.0).max(1.0).ln() / (most / 10.0).ln() * (right - left);
    let mut y = 62.0;
    for (title, scenario) in PANELS {
        drawing.text(20.0, y, "start", "bold", 14, title);
        y += 10.0;
        for row in panel(scenario) {
            let colour = if row.contender == "ifmatch" { OURS } else { OTHERS };
            let weight = if row.contender == "ifmatch" { "bold" } else { "normal" };
            drawing.text(left - 10.0, y + 13.0, "end", weight, 13, &row.contender);
            drawing.bar(left, y + 1.0, scale(row.figure), 16.0, colour);
            drawing.text(
                left + scale(row.figure) + 6.0,
                y + 13.0,
                "start",
                weight,
                12,
                &format!("{:.0}", row.figure),
            );
            y += 22.0;
        }
        y += 34.0;
    }
    let under = "1,000 ids, a value of about 250 bytes in six heap blocks, one thread; dashmap and HashMap keep no \
                 versions";
    drawing.text(20.0, f64::from(height) - 14.0, "start", "normal", 12, under);
    drawing.done()
}

/// Attempts a commit and commits a second by the number of writers, with the gate and without.
fn hot_id(rows: &[Row]) -> String {
    const WRITERS: [u32; 6] = [2, 4, 8, 16, 32, 64];
    let mut drawing = Drawing::new(860, 400, "Writers of one id, commits of 1 ms");
    let figure = |writers: u32, contender: &str, unit: &str| {
        let scenario = format!("hot id, {writers} writers");
        let row = rows
            .iter()
            .find(|row| row.scenario == scenario && row.contender == contender && row.unit == unit);
        row.expect("`core` measures it").figure
    };
    for (panel, (unit, title)) in
        [("attempts", "attempts a commit"), ("commits/s", "commits a second")].into_iter().enumerate()
    {
        let (left, right, top, bottom) =
            (70.0 + 420.0 * panel as f64, 400.0 + 420.0 * panel as f64, 80.0, 320.0);
        let figures =
            ["gate", "no gate"].map(|contender| WRITERS.map(|writers| figure(writers, contender, unit)));
        let most = figures.iter().flatten().copied().fold(1.0, f64::max) * 1.1;
        let x = |at: usize| left + (right - left) * at as f64 / (WRITERS.len() - 1) as f64;
        let y = |figure: f64| bottom - (bottom - top) * figure / most;
        drawing.text(left, top - 18.0, "start", "bold", 14, title);
        for step in 0..=4 {
            let figure = most * f64::from(step) / 4.0;
            drawing.line(&[(left, y(figure)), (right, y(figure))], FAINT, 1.0);
            let label = if most < 100.0 { format!("{figure:.1}") } else { format!("{figure:.0}") };
            drawing.text(left - 8.0, y(figure) + 4.0, "end", "normal", 12, &label);
        }
        for (at, writers) in WRITERS.iter().enumerate() {
            drawing.text(x(at), bottom + 18.0, "middle", "normal", 12, &writers.to_string());
        }
        drawing.text((left + right) / 2.0, bottom + 38.0, "middle", "normal", 12, "writers");
        for (line, colour) in figures.iter().zip([OURS, WITHOUT]) {
            let points: Vec<(f64, f64)> =
                line.iter().enumerate().map(|(at, figure)| (x(at), y(*figure))).collect();
            drawing.line(&points, colour, 2.0);
            points.iter().for_each(|point| drawing.dot(*point, colour));
        }
    }
    for (at, (name, colour)) in [("with the gate", OURS), ("without it", WITHOUT)].into_iter().enumerate() {
        let x = 320.0 + 140.0 * at as f64;
        drawing.dot((x, 382.0), colour);
        drawing.text(x + 10.0, 386.0, "start", "normal", 13, name);
    }
    drawing.done()
}
