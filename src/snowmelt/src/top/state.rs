//! What is on the screen, and what keys do to it. No terminal, no network: pure.

use std::collections::{HashMap, VecDeque};

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use snowmelt_supervisor::report::{GroupReport, Phase};

use crate::cli::OrderKind;
use crate::run::operator::report::NodeReport;
use crate::status::client::Part;
use crate::top::link::News;

/// Rates kept for the curve of a group.
const HISTORY: usize = 240;

/// A group's pipeline and shard.
pub type Id = (String, String);

/// What the caller has to do after a key.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Only draw.
    Nothing,
    /// End.
    Quit,
    /// Give a command.
    Order(OrderKind, Part),
}

/// The screen's state.
#[derive(Default)]
pub struct State {
    /// Where the node is.
    pub url: String,
    /// The last report.
    pub report: Option<NodeReport>,
    /// Why there is no newer one.
    pub silent: Option<String>,
    /// What came of the last command.
    pub message: Option<String>,
    /// A command that waits for a yes.
    pub asking: Option<(OrderKind, Id)>,
    selected: Option<Id>,
    rates: HashMap<Id, VecDeque<u64>>,
}

fn id(group: &GroupReport) -> Id {
    (group.pipeline.clone(), group.shard.clone())
}

impl State {
    /// Nothing known yet.
    pub fn new(url: &str) -> Self {
        Self { url: url.to_owned(), ..Self::default() }
    }

    /// All groups in the order of the screen.
    pub fn groups(&self) -> Vec<&GroupReport> {
        self.report.iter().flat_map(|report| &report.pipelines).flat_map(|pipeline| &pipeline.groups).collect()
    }

    /// The line that is selected, if there is any.
    pub fn selected_line(&self) -> Option<usize> {
        let selected = self.selected.as_ref()?;
        self.groups().iter().position(|group| id(group) == *selected)
    }

    /// The group that is selected.
    pub fn selected(&self) -> Option<&GroupReport> {
        self.groups().get(self.selected_line()?).copied()
    }

    /// Records a second of the selected group, the oldest first.
    pub fn curve(&self) -> Vec<u64> {
        let rates = self.selected.as_ref().and_then(|selected| self.rates.get(selected));
        rates.map(|rates| rates.iter().copied().collect()).unwrap_or_default()
    }

    /// Shows a line of text until the next command.
    pub fn say(&mut self, text: String) {
        self.message = Some(text);
    }

    /// Takes what the node said.
    pub fn take(&mut self, news: News) {
        match news {
            News::Silent(why) => self.silent = Some(why),
            News::Answer(text) => self.say(text),
            News::Report(report) => {
                self.silent = None;
                self.report = Some(*report);
                let now: Vec<(Id, u64)> =
                    self.groups().iter().map(|group| (id(group), group.records_per_s.round() as u64)).collect();
                self.rates.retain(|known, _| now.iter().any(|(id, _)| id == known));
                if self.selected_line().is_none() {
                    self.selected = now.first().map(|(id, _)| id.clone());
                }
                for (id, rate) in now {
                    let rates = self.rates.entry(id).or_default();
                    if rates.len() == HISTORY {
                        rates.pop_front();
                    }
                    rates.push_back(rate);
                }
            }
        }
    }

    /// What a key does.
    pub fn key(&mut self, key: KeyEvent) -> Action {
        if key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL) {
            return Action::Quit;
        }
        if let Some((kind, (pipeline, shard))) = self.asking.take() {
            // Anything but a clear yes is a no.
            return match key.code {
                KeyCode::Char('y' | 'Y') => Action::Order(kind, Part::group(&pipeline, &shard)),
                _ => Action::Nothing,
            };
        }
        match key.code {
            KeyCode::Char('q') | KeyCode::Esc => return Action::Quit,
            KeyCode::Up | KeyCode::Char('k') => self.step(-1),
            KeyCode::Down | KeyCode::Char('j') => self.step(1),
            KeyCode::Home | KeyCode::Char('g') => self.step(isize::MIN),
            KeyCode::End | KeyCode::Char('G') => self.step(isize::MAX),
            KeyCode::Char('r') => self.ask(OrderKind::Restart),
            KeyCode::Char('d') => self.ask(OrderKind::Drain),
            KeyCode::Char('p') => {
                let Some(group) = self.selected() else { return Action::Nothing };
                let down = matches!(group.state, Phase::Paused | Phase::Stopped);
                let kind = if down { OrderKind::Resume } else { OrderKind::Pause };
                return Action::Order(kind, Part::group(&group.pipeline, &group.shard));
            }
            _ => {}
        }
        Action::Nothing
    }

    fn ask(&mut self, kind: OrderKind) {
        self.message = None;
        self.asking = self.selected.clone().map(|selected| (kind, selected));
    }

    fn step(&mut self, by: isize) {
        let groups = self.groups();
        let Some(last) = groups.len().checked_sub(1) else { return };
        let line = self.selected_line().unwrap_or(0).saturating_add_signed(by).min(last);
        self.selected = groups.get(line).map(|group| id(group));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::tree::tests::example;

    fn press(state: &mut State, code: char) -> Action {
        state.key(KeyEvent::new(KeyCode::Char(code), KeyModifiers::NONE))
    }

    fn watching() -> State {
        let mut state = State::new("http://node");
        state.take(News::Report(Box::new(example())));
        state
    }

    #[test]
    fn keys_move_the_selection_within_the_list() {
        let mut state = watching();
        assert_eq!(state.selected().unwrap().shard, "shard-0");
        for (key, shard) in [('k', "shard-0"), ('j', "shard-1"), ('j', "shard-1"), ('g', "shard-0"), ('G', "shard-1")] {
            assert_eq!(press(&mut state, key), Action::Nothing);
            assert_eq!(state.selected().unwrap().shard, shard, "{key}");
        }
    }

    #[test]
    fn a_restart_or_drain_needs_a_yes() {
        let mut state = watching();
        for (key, kind) in [('r', OrderKind::Restart), ('d', OrderKind::Drain)] {
            assert_eq!(press(&mut state, key), Action::Nothing);
            assert_eq!(press(&mut state, 'n'), Action::Nothing);
            assert_eq!(press(&mut state, 'y'), Action::Nothing, "the no ended it");
            press(&mut state, key);
            assert_eq!(press(&mut state, 'y'), Action::Order(kind, Part::group("enrich", "shard-0")));
        }
    }

    #[test]
    fn pausing_a_paused_group_resumes_it() {
        let mut state = watching();
        let part = Part::group("enrich", "shard-0");
        assert_eq!(press(&mut state, 'p'), Action::Order(OrderKind::Pause, part.clone()));
        state.report.as_mut().unwrap().pipelines[0].groups[0].state = Phase::Paused;
        assert_eq!(press(&mut state, 'p'), Action::Order(OrderKind::Resume, part));
    }

    #[test]
    fn the_selection_stays_with_its_group_and_leaves_one_that_is_gone() {
        let mut state = watching();
        press(&mut state, 'j');
        let mut fewer = example();
        fewer.pipelines[0].groups.remove(0);
        state.take(News::Report(Box::new(fewer.clone())));
        assert_eq!(state.selected().unwrap().shard, "shard-1");
        fewer.pipelines[0].groups.clear();
        state.take(News::Report(Box::new(fewer)));
        assert!(state.selected().is_none());
        assert_eq!(press(&mut state, 'p'), Action::Nothing);
        press(&mut state, 'r');
        press(&mut state, 'j');
    }

    #[test]
    fn control_c_quits_even_while_a_yes_is_waited_for() {
        let mut state = watching();
        press(&mut state, 'd');
        assert_eq!(state.key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)), Action::Quit);
    }
}
