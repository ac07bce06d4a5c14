//! Which file of a crate uses which other, read from the source.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, mem,
    path::Path,
};

use proc_macro2::{TokenStream, TokenTree};
use syn::{
    Attribute, Ident, Item, ItemUse, UseTree, Visibility,
    visit::{self, Visit},
};

/// File, by the path of its module, to what it uses of other files.
pub(crate) type Uses = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

/// The path of a module within its crate; empty for the root.
type Module = Vec<String>;

#[derive(Default)]
struct Crate {
    modules: BTreeMap<Module, Content>,
}

#[derive(Default)]
struct Content {
    /// Modules that are written in the file of another belong to that file.
    file: Module,
    /// What an import calls a path.
    imports: BTreeMap<String, Vec<String>>,
    /// Modules of which everything is imported.
    globs: Vec<Vec<String>>,
    paths: BTreeSet<Vec<String>>,
}

/// Every file of the crate with this root.
pub(crate) fn files(root: &Path) -> BTreeSet<String> {
    read(root).modules.values().map(|content| content.file.join("::")).collect()
}

/// What every file of the crate with this root uses of others.
pub(crate) fn uses(root: &Path) -> Uses {
    let krate = read(root);
    let mut uses = Uses::new();
    for (module, content) in &krate.modules {
        for path in &content.paths {
            let Some((target, name)) = krate.resolve(module, path, 0) else { continue };
            let to = &krate.modules[&target].file;
            if *to != content.file {
                let of = uses.entry(content.file.join("::")).or_default();
                of.entry(to.join("::")).or_default().insert(name);
            }
        }
    }
    uses
}

fn read(root: &Path) -> Crate {
    let mut krate = Crate::default();
    let children = root.parent().unwrap().to_path_buf();
    krate.read_file(root, &children, Module::new());
    krate
}

/// Whether what has these attributes is compiled for tests only.
fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let is_cfg = attribute.path().is_ident("cfg");
        let condition = || attribute.parse_args::<TokenStream>().map(|it| it.to_string()).unwrap_or_default();
        attribute.path().is_ident("test")
            || is_cfg && ["test", "all (test"].iter().any(|it| condition().starts_with(it))
    })
}

impl Crate {
    fn read_file(&mut self, path: &Path, children: &Path, module: Module) {
        let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let file = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        self.read_items(&file.items, children, &module, &module);
    }

    fn read_items(&mut self, items: &[Item], children: &Path, module: &Module, file: &Module) {
        let mut content = Content { file: file.clone(), ..Content::default() };
        for item in items {
            match item {
                Item::Mod(inner) if !is_test(&inner.attrs) => {
                    let name = inner.ident.to_string();
                    let path = [module.clone(), vec![name.clone()]].concat();
                    let below = children.join(&name);
                    match &inner.content {
                        Some((_, items)) => self.read_items(items, &below, &path, file),
                        None => self.read_file(&children.join(format!("{name}.rs")), &below, path),
                    }
                }
                Item::Use(import) if !is_test(&import.attrs) => content.import(import),
                _ => content.visit_item(item),
            }
        }
        self.modules.insert(module.clone(), content);
    }

    /// The module that defines what a path names, and its name there.
    fn resolve(&self, from: &Module, path: &[String], depth: usize) -> Option<(Module, String)> {
        assert!(depth < 32, "{path:?} in {from:?} leads nowhere");
        let (first, rest) = path.split_first()?;
        let mut at = from.clone();
        let mut rest = rest;
        match first.as_str() {
            "crate" => at.clear(),
            "self" => {}
            "super" => drop(at.pop()),
            name => {
                let child = [at.clone(), vec![name.to_owned()]].concat();
                if self.modules.contains_key(&child) {
                    at = child;
                } else {
                    return self.imported(&at, name, rest, depth);
                }
            }
        }
        while let Some((next, after)) = rest.split_first() {
            let child = [at.clone(), vec![next.clone()]].concat();
            if next == "super" {
                at.pop();
            } else if self.modules.contains_key(&child) {
                at = child;
            } else {
                return self.imported(&at, next, after, depth).or_else(|| Some((at, next.clone())));
            }
            rest = after;
        }
        // A module by itself: what is used of it is another path.
        None
    }

    /// What a name stands for that a module imports.
    fn imported(&self, at: &Module, name: &str, rest: &[String], depth: usize) -> Option<(Module, String)> {
        let content = self.modules.get(at)?;
        let Some(path) = content.imports.get(name) else {
            // What it imports all of may export the name in turn.
            let exporting = content.globs.iter().filter_map(|glob| self.module(at, glob));
            let mut exporting =
                exporting.filter(|it| it != at && self.modules[it].imports.contains_key(name));
            return exporting.next().and_then(|it| self.imported(&it, name, rest, depth + 1));
        };
        // Where an import has the name of what it is from, that is another crate.
        if path[0] == name { None } else { self.resolve(at, &[path.as_slice(), rest].concat(), depth + 1) }
    }

    /// The module that a path names.
    fn module(&self, from: &Module, path: &[String]) -> Option<Module> {
        let mut at = from.clone();
        for name in path {
            match name.as_str() {
                "crate" => at.clear(),
                "self" => {}
                "super" => drop(at.pop()),
                name => at.push(name.to_owned()),
            }
        }
        self.modules.contains_key(&at).then_some(at)
    }
}

impl Content {
    fn import(&mut self, import: &ItemUse) {
        let is_private = matches!(import.vis, Visibility::Inherited);
        self.import_tree(&import.tree, &mut Vec::new(), is_private);
    }

    fn import_tree(&mut self, tree: &UseTree, before: &mut Vec<String>, is_private: bool) {
        match tree {
            UseTree::Path(path) => {
                before.push(path.ident.to_string());
                self.import_tree(&path.tree, before, is_private);
                before.pop();
            }
            UseTree::Group(group) => {
                group.items.iter().for_each(|tree| self.import_tree(tree, before, is_private));
            }
            UseTree::Name(name) => self.name(&name.ident, &name.ident, before, is_private),
            UseTree::Rename(rename) => self.name(&rename.rename, &rename.ident, before, is_private),
            UseTree::Glob(_) => self.globs.push(before.clone()),
        }
    }

    fn name(&mut self, known_as: &Ident, name: &Ident, before: &[String], is_private: bool) {
        let mut path = before.to_vec();
        let mut known_as = known_as.to_string();
        if name == "self" {
            known_as = before.last().cloned().unwrap_or(known_as);
        } else {
            path.push(name.to_string());
        }
        // What is imported is used: a trait, for its methods, is named nowhere else. What is exported again is not,
        // unless it is named as well.
        if is_private {
            self.paths.insert(path.clone());
        }
        self.imports.insert(known_as, path);
    }

    fn tokens(&mut self, tokens: TokenStream) {
        let mut path = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.paths.insert(mem::take(&mut path));
                    }
                    path.push(ident.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                other => {
                    self.paths.insert(mem::take(&mut path));
                    colons = 0;
                    if let TokenTree::Group(group) = other {
                        self.tokens(group.stream());
                    }
                }
            }
        }
        self.paths.insert(path);
    }
}

impl<'ast> Visit<'ast> for Content {
    fn visit_item(&mut self, item: &'ast Item) {
        let attributes: &[Attribute] = match item {
            Item::Fn(it) => &it.attrs,
            Item::Impl(it) => &it.attrs,
            Item::Struct(it) => &it.attrs,
            Item::Const(it) => &it.attrs,
            Item::Mod(it) => &it.attrs,
            Item::Use(it) => {
                // An import within a function is like one of its module.
                self.import(it);
                return;
            }
            _ => &[],
        };
        if !is_test(attributes) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        if !is_test(&function.attrs) {
            visit::visit_impl_item_fn(self, function);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.paths.insert(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        visit::visit_path(self, path);
    }

    // Who may see an item is no use of it.
    fn visit_visibility(&mut self, _: &'ast Visibility) {}

    fn visit_macro(&mut self, mac: &'ast syn::Macro) {
        self.tokens(mac.tokens.clone());
        visit::visit_macro(self, mac);
    }

    fn visit_item_macro(&mut self, mac: &'ast syn::ItemMacro) {
        self.tokens(mac.mac.tokens.clone());
    }
}
