//! The screen: the node's line, the groups, the selected group's actors, the keys.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Cell, Paragraph, Row, Sparkline, Table, TableState, Wrap};
use snowmelt_supervisor::report::{ActorReport, GroupReport, Phase};
use snowmelt_supervisor::watcher::seconds;

use crate::definition::units::show_bytes;
use crate::status::tree::doing;
use crate::status::{lag, percent, rate};
use crate::top::state::State;

/// Cells of a mailbox's bar.
const BAR: usize = 8;

/// Draws everything.
pub fn draw(frame: &mut Frame<'_>, state: &mut State) {
    let actors = state.selected().map_or(0, |group| group.actors.len());
    let below = u16::try_from(actors).unwrap_or(u16::MAX).saturating_add(7).min(frame.area().height / 2);
    let [head, groups, detail, foot] =
        Layout::vertical([Constraint::Length(1), Constraint::Min(4), Constraint::Length(below), Constraint::Length(1)])
            .areas(frame.area());
    frame.render_widget(head_line(state), head);
    groups_table(frame, state, groups);
    if let Some(group) = state.selected() {
        detail_of(frame, state, group, detail);
    }
    frame.render_widget(foot_line(state), foot);
}

fn head_line(state: &State) -> Line<'_> {
    let mut spans = vec![Span::from("snowmelt ").bold(), Span::from(state.url.as_str())];
    if let Some(report) = &state.report {
        spans.push(Span::from(format!("  {}  up {}  ", report.version, seconds(report.uptime_ms))));
        spans.push(if report.ready { "ready".green() } else { "not ready".red().bold() });
        let total: f64 = report.pipelines.iter().map(|pipeline| pipeline.records_per_s).sum();
        spans.push(Span::from(format!("  {} records/s", rate(total))));
        let refused = report.collectors.iter().filter(|collector| !collector.ready);
        spans.extend(refused.map(|collector| Span::from(format!("  {} takes no records", collector.stream)).red()));
    }
    if let Some(why) = &state.silent {
        spans.push(Span::from(format!("  {why}")).red());
    }
    Line::from(spans)
}

fn foot_line(state: &State) -> Line<'_> {
    if let Some((kind, (pipeline, shard))) = &state.asking {
        return Line::from(format!("{} {pipeline}/{shard}? y/n", kind.path())).yellow().bold();
    }
    let keys = Span::from("↑↓ select  r restart  d drain  p pause/resume  q quit").dim();
    match &state.message {
        Some(message) => Line::from(vec![Span::from(message.as_str()), Span::from("  "), keys]),
        None => Line::from(keys),
    }
}

fn groups_table(frame: &mut Frame<'_>, state: &State, area: Rect) {
    let rows: Vec<Row<'_>> = state.groups().into_iter().map(group_row).collect();
    let widths = [
        Constraint::Fill(3),
        Constraint::Length(11),
        Constraint::Length(8),
        Constraint::Length(10),
        Constraint::Length(12),
        Constraint::Length(7),
        Constraint::Length(8),
        Constraint::Fill(3),
    ];
    let header = Row::new(["group", "state", "lag", "records/s", "bytes/s", "pending", "restarts", "bottleneck"])
        .style(Style::new().add_modifier(Modifier::BOLD));
    let table = Table::new(rows, widths)
        .header(header)
        .block(Block::new().borders(Borders::TOP))
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    let mut selection = TableState::default().with_selected(state.selected_line());
    frame.render_stateful_widget(table, area, &mut selection);
}

fn group_row(group: &GroupReport) -> Row<'_> {
    let bottleneck = group.bottleneck.as_ref().map_or_else(String::new, |bottleneck| bottleneck.actor.clone());
    Row::new([
        Cell::from(format!("{}/{}", group.pipeline, group.shard)),
        Cell::from(Span::styled(group.state.word(), Style::new().fg(colour(group)))),
        Cell::from(lag(group.lag_ms)),
        Cell::from(rate(group.records_per_s)),
        Cell::from(show_bytes(group.bytes_per_s as usize)),
        Cell::from(group.pending_batches.to_string()),
        Cell::from(group.restarts.to_string()),
        Cell::from(Span::from(bottleneck).yellow()),
    ])
}

const fn colour(group: &GroupReport) -> Color {
    match group.state {
        Phase::Running | Phase::Ended if group.ready => Color::Green,
        Phase::Starting | Phase::Draining | Phase::Paused => Color::Yellow,
        _ => Color::Red,
    }
}

fn detail_of(frame: &mut Frame<'_>, state: &State, group: &GroupReport, area: Rect) {
    let title = format!(" {}/{}  generation {} ", group.pipeline, group.shard, group.generation);
    let block = Block::new().borders(Borders::TOP).title(title);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let words = words_of(state, group);
    let lines = u16::try_from(words.len()).unwrap_or(u16::MAX).min(3);
    let [curve, said, actors] =
        Layout::vertical([Constraint::Length(2), Constraint::Length(lines), Constraint::Min(1)]).areas(inner);
    let rates = state.curve();
    let newest = rates.len().saturating_sub(usize::from(curve.width));
    frame.render_widget(Sparkline::default().data(&rates[newest..]).style(Style::new().fg(Color::Cyan)), curve);
    frame.render_widget(Paragraph::new(words).wrap(Wrap { trim: true }), said);
    let widths = [
        Constraint::Fill(2),
        Constraint::Length(15),
        Constraint::Length(10),
        Constraint::Length(BAR as u16 + 6),
        Constraint::Length(9),
        Constraint::Length(12),
    ];
    let header = Row::new(["actor", "", "records/s", "mailbox", "for room", "for outside"]).bold();
    let table = Table::new(group.actors.iter().map(actor_row), widths).header(header);
    frame.render_widget(table, actors);
}

/// Why the group is not ready, what holds it up, what failed last.
fn words_of<'a>(state: &State, group: &'a GroupReport) -> Vec<Line<'a>> {
    let mut words: Vec<Line<'a>> = group.reasons.iter().map(|reason| Line::from(reason.as_str()).red()).collect();
    if let Some(bottleneck) = &group.bottleneck {
        words.push(Line::from(format!("bottleneck: {}, {}", bottleneck.actor, bottleneck.reason)).yellow());
    }
    if let Some(failure) = &group.last_failure {
        let now_ms = state.report.as_ref().map_or(failure.at_ms, |report| report.at_ms);
        let ago = seconds(u64::try_from(now_ms - failure.at_ms).unwrap_or(0));
        words.push(Line::from(format!("last failure {ago} ago: {}: {}", failure.actor, failure.message)));
    }
    words
}

fn actor_row(actor: &ActorReport) -> Row<'_> {
    let bar = actor.mailbox.map_or_else(Span::default, |mailbox| {
        let fill = mailbox.fill();
        let full = ((fill * BAR as f64).round() as usize).min(BAR);
        let text = format!("{}{} {:>4}", "█".repeat(full), "░".repeat(BAR - full), percent(fill));
        if fill > 0.5 { Span::from(text).yellow() } else { Span::from(text) }
    });
    Row::new([
        Cell::from(actor.actor.as_str()),
        Cell::from(doing(actor.activity)),
        Cell::from(rate(actor.records_per_s)),
        Cell::from(bar),
        Cell::from(percent(actor.waiting_for_room)),
        Cell::from(percent(actor.waiting_outside)),
    ])
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;
    use crate::status::tree::tests::example;
    use crate::top::link::News;

    fn screen(state: &mut State, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, state)).unwrap();
        let buffer = terminal.backend().buffer();
        let line = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
        (0..height).map(|y| format!("{}\n", line(y).trim_end())).collect()
    }

    #[test]
    fn the_screen_shows_groups_and_the_selected_ones_actors() {
        let mut state = State::new("http://127.0.0.1:8090");
        state.take(News::Report(Box::new(example())));
        let text = screen(&mut state, 120, 30);
        for wanted in ["not ready", "raw takes no records", "enrich/shard-0", "backing off", "12.3k", "██████░░ 75 %"]
        {
            assert!(text.contains(wanted), "{wanted} in\n{text}");
        }
        assert!(text.contains("q quit"), "{text}");
    }

    #[test]
    fn before_the_first_answer_and_on_a_tiny_terminal_it_draws_what_it_can() {
        let mut state = State::new("http://127.0.0.1:8090");
        state.take(News::Silent("the running pipeline does not answer".into()));
        assert!(screen(&mut state, 80, 10).contains("does not answer"));
        state.take(News::Report(Box::new(example())));
        for (width, height) in [(1, 1), (20, 3), (40, 8), (300, 100)] {
            screen(&mut state, width, height);
        }
    }
}
