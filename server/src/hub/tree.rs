//! The subscriptions of one table, found by the key of what happened. What is looked at grows with the segments of the
//! key and with what fits, not with the number of subscriptions.

use super::filter::{Filter, Level, segments};
use harper_store::Key;
use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;
use std::str::Split;

/// What is kept in a tree: it remembers its place, so that it is taken out without a search.
pub(super) trait Member {
    /// Its place in the list that the tree keeps it in.
    fn place(&self) -> &Cell<usize>;
}

/// Members by what they watch.
pub(super) struct Tree<M> {
    all: List<M>,
    keys: HashMap<Key, List<M>>,
    patterns: Node<M>,
    count: usize,
}

/// Members that watch the same.
struct List<M>(Vec<Rc<M>>);

/// The patterns that begin with the same segments.
struct Node<M> {
    exact: HashMap<Box<str>, Node<M>>,
    any: Option<Box<Node<M>>>,
    rest: List<M>,
    here: List<M>,
}

impl<M: Member> Tree<M> {
    /// How many members there are.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Adds a member.
    pub(super) fn insert(&mut self, filter: &Filter, member: Rc<M>) {
        self.count += 1;
        match filter {
            Filter::All => self.all.push(member),
            Filter::Key(key) => self.keys.entry(key.clone()).or_default().push(member),
            Filter::Pattern(pattern) => self.patterns.insert(pattern.levels(), member),
        }
    }

    /// Takes a member out that was added with this filter.
    pub(super) fn remove(&mut self, filter: &Filter, member: &M) {
        self.count -= 1;
        let place = member.place().get();
        match filter {
            Filter::All => self.all.remove(place),
            Filter::Key(key) => {
                let Some(list) = self.keys.get_mut(key) else { return };
                list.remove(place);
                if list.0.is_empty() {
                    self.keys.remove(key);
                }
            }
            Filter::Pattern(pattern) => self.patterns.remove(pattern.levels(), place),
        }
    }

    /// Hands each member that watches `key` to `visit`, once.
    pub(super) fn each_match(&self, key: &Key, visit: &mut dyn FnMut(&Rc<M>)) {
        self.all.each(visit);
        if let Some(list) = self.keys.get(key) {
            list.each(visit);
        }
        if !self.patterns.is_empty() {
            self.patterns.each_match(segments(&key.to_text()), visit);
        }
    }

    /// Hands every member to `visit`.
    pub(super) fn each(&self, visit: &mut dyn FnMut(&Rc<M>)) {
        self.all.each(visit);
        self.keys.values().for_each(|list| list.each(visit));
        self.patterns.each(visit);
    }
}

impl<M: Member> List<M> {
    fn push(&mut self, member: Rc<M>) {
        member.place().set(self.0.len());
        self.0.push(member);
    }

    fn remove(&mut self, place: usize) {
        self.0.swap_remove(place);
        if let Some(moved) = self.0.get(place) {
            moved.place().set(place);
        }
    }

    fn each(&self, visit: &mut dyn FnMut(&Rc<M>)) {
        self.0.iter().for_each(visit);
    }
}

impl<M: Member> Node<M> {
    fn is_empty(&self) -> bool {
        let Self { exact, any, rest, here } = self;
        exact.is_empty() && any.is_none() && rest.0.is_empty() && here.0.is_empty()
    }

    fn insert(&mut self, levels: &[Level], member: Rc<M>) {
        match levels.split_first() {
            None => self.here.push(member),
            Some((Level::Rest, _)) => self.rest.push(member),
            Some((Level::Any, levels)) => {
                self.any.get_or_insert_default().insert(levels, member);
            }
            Some((Level::Exact(text), levels)) => {
                self.exact.entry(text.clone()).or_default().insert(levels, member);
            }
        }
    }

    /// Nodes that nobody needs any more go, too.
    fn remove(&mut self, levels: &[Level], place: usize) {
        match levels.split_first() {
            None => self.here.remove(place),
            Some((Level::Rest, _)) => self.rest.remove(place),
            Some((Level::Any, levels)) => {
                let Some(node) = &mut self.any else { return };
                node.remove(levels, place);
                if node.is_empty() {
                    self.any = None;
                }
            }
            Some((Level::Exact(text), levels)) => {
                let Some(node) = self.exact.get_mut(text) else { return };
                node.remove(levels, place);
                if node.is_empty() {
                    self.exact.remove(text);
                }
            }
        }
    }

    fn each_match(&self, mut segments: Split<'_, char>, visit: &mut dyn FnMut(&Rc<M>)) {
        self.rest.each(visit);
        let Some(segment) = segments.next() else { return self.here.each(visit) };
        if let Some(node) = self.exact.get(segment) {
            node.each_match(segments.clone(), visit);
        }
        if let Some(node) = &self.any {
            node.each_match(segments, visit);
        }
    }

    fn each(&self, visit: &mut dyn FnMut(&Rc<M>)) {
        self.rest.each(visit);
        self.here.each(visit);
        self.exact.values().chain(self.any.as_deref()).for_each(|node| node.each(visit));
    }
}

impl<M> Default for Tree<M> {
    fn default() -> Self {
        let (all, keys, patterns) = (List::default(), HashMap::new(), Node::default());
        Self { all, keys, patterns, count: 0 }
    }
}

impl<M> Default for List<M> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<M> Default for Node<M> {
    fn default() -> Self {
        Self { exact: HashMap::new(), any: None, rest: List::default(), here: List::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::filter::Pattern;
    use super::*;
    use harper_store::KeyValue;
    use proptest::prelude::*;

    struct Numbered(usize, Cell<usize>);

    impl Member for Numbered {
        fn place(&self) -> &Cell<usize> {
            &self.1
        }
    }

    fn segment() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec!["", "a", "b", "c"])
    }

    fn key() -> impl Strategy<Value = Key> {
        let text = prop::collection::vec(segment(), 1..4).prop_map(|all| all.join("/"));
        let texts = text
            .prop_filter_map("a key has text", |text| Key::encode(&KeyValue::String(text)).ok());
        let numbers = (0..3i64).prop_map(|n| Key::encode(&KeyValue::Integer(n)).unwrap());
        prop_oneof![4 => texts, 1 => numbers]
    }

    fn filter() -> impl Strategy<Value = Filter> {
        let level = prop_oneof![3 => segment(), 1 => Just("+")];
        let pattern =
            (prop::collection::vec(level, 0..4), any::<bool>()).prop_map(|(mut all, rest)| {
                if rest || all.is_empty() {
                    all.push("#");
                }
                Filter::Pattern(Pattern::parse(&all.join("/")).unwrap())
            });
        prop_oneof![1 => Just(Filter::All), 2 => key().prop_map(Filter::Key), 5 => pattern]
    }

    proptest! {
        /// The tree finds what a look at every filter finds, whatever was added and taken out before.
        #[test]
        fn the_tree_finds_what_a_look_at_each_filter_finds(
            filters in prop::collection::vec(filter(), 0..40),
            removed in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
            keys in prop::collection::vec(key(), 1..8),
        ) {
            let mut tree = Tree::default();
            let mut members: Vec<_> = filters
                .into_iter()
                .enumerate()
                .map(|(number, filter)| (filter, Rc::new(Numbered(number, Cell::default()))))
                .collect();
            for (filter, member) in &members {
                tree.insert(filter, Rc::clone(member));
            }
            for index in removed {
                if !members.is_empty() {
                    let (filter, member) = members.swap_remove(index.index(members.len()));
                    tree.remove(&filter, &member);
                }
            }
            prop_assert_eq!(tree.len(), members.len());
            for key in keys {
                let mut found = Vec::new();
                tree.each_match(&key, &mut |member| found.push(member.0));
                found.sort_unstable();
                let fitting = members.iter().filter(|(filter, _)| filter.matches(&key));
                let mut expected: Vec<_> = fitting.map(|(_, member)| member.0).collect();
                expected.sort_unstable();
                prop_assert_eq!(found, expected);
            }
            let mut all = 0;
            tree.each(&mut |_| all += 1);
            prop_assert_eq!(all, members.len());
            for (filter, member) in &members {
                tree.remove(filter, member);
            }
            prop_assert!(tree.patterns.is_empty() && tree.keys.is_empty() && tree.len() == 0);
        }
    }
}
