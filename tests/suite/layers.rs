//! Dependencies between modules run one way: at the top in the order that `src/lib.rs` lists, and without a circle in
//! every folder below. Modules are small; clippy's `too_many_lines` holds functions to 80 lines.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use syn::visit::{self, Visit};

type Module = Vec<String>;

#[test]
fn modules_use_only_those_that_are_listed_below_them() {
    let listed = layers();
    let mut wrong = BTreeSet::new();
    for Use { file, from, to } in uses() {
        let layer = |module: &Module| {
            let name = module.first()?;
            listed.iter().position(|listed| listed == name)
        };
        let (Some(user), Some(used)) = (layer(&from), layer(&to)) else { continue };
        if user > used {
            wrong.insert(format!("{}: {} uses {}", file.display(), listed[user], listed[used]));
        }
    }
    assert!(wrong.is_empty(), "against the order of src/lib.rs:\n{wrong:#?}");
}

#[test]
fn every_top_level_module_is_listed() {
    let declared: BTreeSet<_> =
        modules().into_iter().filter_map(|(_, module)| module.first().cloned()).collect();
    assert_eq!(layers().into_iter().collect::<BTreeSet<_>>(), declared);
}

#[test]
fn siblings_do_not_depend_on_each_other_in_circles() {
    let mut siblings = BTreeMap::<Module, BTreeMap<String, BTreeSet<String>>>::new();
    for Use { from, to, .. } in uses() {
        let shared = from.iter().zip(&to).take_while(|(one, other)| one == other).count();
        let (Some(user), Some(used)) = (from.get(shared), to.get(shared)) else { continue };
        siblings
            .entry(from[..shared].to_vec())
            .or_default()
            .entry(user.clone())
            .or_default()
            .insert(used.clone());
    }
    let circles: Vec<_> = siblings
        .iter()
        .flat_map(|(folder, edges)| {
            edges.keys().filter(|name| reaches(edges, name, name)).map(move |name| (folder.join("::"), name))
        })
        .collect();
    assert!(circles.is_empty(), "modules that depend on themselves by way of their siblings: {circles:#?}");
}

/// The most lines of code that a module may have, without its tests, comments and blank lines.
const MAX_LINES: usize = 320;

#[test]
fn modules_are_small() {
    for (file, _) in modules() {
        let text = fs::read_to_string(&file).unwrap();
        let code = text.split("\n#[cfg(test)]\nmod ").next().unwrap().lines().map(str::trim);
        let lines = code.filter(|line| !line.is_empty() && !line.starts_with("//")).count();
        assert!(lines <= MAX_LINES, "{}: {lines} lines of code", file.display());
    }
}

fn reaches(edges: &BTreeMap<String, BTreeSet<String>>, from: &str, to: &str) -> bool {
    let (mut seen, mut open) = (BTreeSet::new(), vec![from]);
    while let Some(name) = open.pop() {
        for next in edges.get(name).into_iter().flatten() {
            if next == to {
                return true;
            }
            if seen.insert(next) {
                open.push(next);
            }
        }
    }
    false
}

/// The modules that `src/lib.rs` lists, topmost first.
fn layers() -> Vec<String> {
    let lib = fs::read_to_string(source().join("lib.rs")).unwrap();
    let listed = lib.lines().filter_map(|line| line.strip_prefix("//! - [`")?.split_once('`'));
    listed.map(|(name, _)| name.to_owned()).collect()
}

/// That a module names another one of this crate.
struct Use {
    file: PathBuf,
    from: Module,
    to: Module,
}

fn uses() -> Vec<Use> {
    let files = modules();
    let known: BTreeSet<_> = files.iter().map(|(_, module)| module.clone()).collect();
    let mut uses = Vec::new();
    for (file, from) in files {
        let text = fs::read_to_string(&file).unwrap();
        let mut paths = Paths { module: from.clone(), found: Vec::new() };
        paths.visit_file(&syn::parse_file(&text).unwrap());
        for mut to in paths.found {
            // What is behind the module's own path is an item in it.
            while !known.contains(&to) && !to.is_empty() {
                to.pop();
            }
            uses.push(Use { file: file.clone(), from: from.clone(), to });
        }
    }
    uses
}

/// Every file below `src`, with the path of its module.
fn modules() -> Vec<(PathBuf, Module)> {
    let (mut files, mut folders) = (Vec::new(), vec![source()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if !path.ends_with("src/lib.rs") && !path.ends_with("src/main.rs") {
                let module = path.strip_prefix(source()).unwrap().with_extension("");
                let parts = module.iter().map(|part| part.to_str().unwrap().to_owned());
                let module = parts.filter(|part| part != "mod").collect();
                files.push((path, module));
            }
        }
    }
    files
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Collects the paths into this crate that the code of a module names. Its tests may use anything.
struct Paths {
    module: Module,
    found: Vec<Module>,
}

impl Paths {
    fn add(&mut self, segments: &[String]) {
        let module = match segments.first().map(String::as_str) {
            Some("crate") => Vec::new(),
            Some("self" | "super") => self.module.clone(),
            _ => return,
        };
        let path = segments.iter().skip_while(|segment| ["crate", "self"].contains(&segment.as_str()));
        let resolved = path.fold(module, |mut module, segment| {
            match segment.as_str() {
                "super" => drop(module.pop()),
                _ => module.push(segment.clone()),
            }
            module
        });
        self.found.push(resolved);
    }

    fn add_tree(&mut self, tree: &syn::UseTree, before: &mut Vec<String>) {
        match tree {
            syn::UseTree::Path(path) => {
                before.push(path.ident.to_string());
                self.add_tree(&path.tree, before);
                before.pop();
            }
            syn::UseTree::Group(group) => group.items.iter().for_each(|tree| self.add_tree(tree, before)),
            syn::UseTree::Name(syn::UseName { ident })
            | syn::UseTree::Rename(syn::UseRename { ident, .. }) => {
                before.push(ident.to_string());
                self.add(before);
                before.pop();
            }
            syn::UseTree::Glob(_) => self.add(before),
        }
    }
}

impl<'ast> Visit<'ast> for Paths {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if module.content.is_none() || module.ident != "tests" {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.add_tree(&item.tree, &mut Vec::new());
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<_> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.add(&segments);
        visit::visit_path(self, path);
    }
}
