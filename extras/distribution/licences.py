#!/usr/bin/env python3
"""Prints the licences and copyright notices of all that the delivered programs are linked with, as one text.

The licences demand that these go wherever the programs go. Linked are the normal dependencies of the three programs, as cargo
tells them. It enables features as for the whole workspace, so a crate may be listed that only a test needs; one notice too many
harms nobody.

Refused are crates under a licence that is not in LICENCES, so that nothing with a copyleft slips in, and licences whose text
is nowhere. The same source and compiler give the same text on every machine: it has no paths and no times.
"""

import argparse
import html.parser
import json
import os
import re
import subprocess
import sys
import textwrap

CHECKOUT = os.path.realpath(os.path.join(os.path.dirname(__file__), "../.."))

PROGRAMS = ("task-messenger-cli", "task-messenger-manager", "task-messenger-worker")

# What may be linked, by SPDX identifier, with words that only the licence's full text has, all of them. Permissive only: none
# says anything about the licence of a program that has the code in it.
LICENCES = {
    "Apache-2.0": ("terms and conditions for use, reproduction, and distribution", "accepting warranty or additional liability"),
    "Apache-2.0 WITH LLVM-exception": ("accepting warranty or additional liability", "llvm exceptions to the apache 2.0 license"),
    "BSD-2-Clause": ("other materials provided with the distribution. this software is provided by",),
    "BSD-3-Clause": ("redistributions in binary form must reproduce", "neither the name"),
    "CDLA-Permissive-2.0": ("community data license agreement", "permissive", "version 2.0"),
    "ISC": ("permission to use, copy, modify, and/or distribute this software for any purpose with or without fee",),
    "MIT": ("obtaining a copy of this software and associated documentation files", "and this permission notice"),
    "Unicode-3.0": ("unicode license v3", "obtaining a copy of data files"),
    "Unlicense": ("this is free and unencumbered software released into the public domain",),
    "Zlib": ("altered source versions must be plainly marked", "this notice may not be removed or altered"),
}

# Files with a licence or a notice; also the directory of which all files are licences.
FILE_NAME = re.compile(r"((un)?licen[cs]e|copying|copyright|notice)", re.IGNORECASE)
DIRECTORY_NAME = re.compile(r"licen[cs]es?", re.IGNORECASE)
SOURCE_CODE = re.compile(r".*\.(rs|c|cc|cpp|h|go|js|json|pl|py|sh|toml|ya?ml)", re.IGNORECASE)

STANDARD_LIBRARY = "the Rust standard library"


class Refusal(Exception):
    """Why there is no text. One line for each reason."""


class Texts:
    """Each text once, with all that it is of. Texts are the same if only white space differs."""

    def __init__(self):
        self.texts = {}
        self.holders = {}

    def add(self, holder, text):
        lines = [line.rstrip() for line in text.removeprefix("\ufeff").splitlines()]
        key = " ".join(text.split())
        if key:
            self.texts.setdefault(key, "\n".join(lines).strip("\n"))
            self.holders.setdefault(key, []).append(holder)

    def full_licences(self):
        """The licences whose full text is here."""
        found = set()
        for key in self.texts:
            words = key.lower()
            found.update(name for name, parts in LICENCES.items() if all(part in words for part in parts))
        return found

    def sections(self):
        for key, text in self.texts.items():
            yield ", ".join(self.holders[key]), text


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", help="what the programs are built for, such as x86_64-unknown-linux-gnu")
    parser.add_argument("--metadata", metavar="FILE", help="what `cargo metadata` prints, instead of running it")
    options = parser.parse_args()
    if not (options.target or options.metadata):
        parser.error("one of --target and --metadata is needed")
    try:
        text = licences(read_metadata(options), run("rustc", "--print", "sysroot").decode().strip())
    except Refusal as refusal:
        for line in str(refusal).splitlines():
            print(f"{parser.prog}: {line}", file=sys.stderr)
        sys.exit(1)
    # Not by way of the locale, which would make other bytes.
    sys.stdout.buffer.write(text.encode())


def read_metadata(options):
    if options.metadata:
        with open(options.metadata, "rb") as file:
            return json.load(file)
    return json.loads(run("cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", options.target))


def run(*command):
    try:
        return subprocess.run(command, cwd=CHECKOUT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise Refusal(f"this failed: {' '.join(command)}: {error}") from error


def licences(metadata, sysroot):
    crates = linked_crates(metadata)
    texts = Texts()
    index = []
    for crate in crates:
        files = licence_files(crate)
        for name, text in files:
            texts.add(f"{title(crate)} ({name})", text)
        index.append(describe(crate, bool(files)))
    has_documents = add_standard_library(texts, sysroot)
    refuse(crates, has_documents, texts.full_licences())
    return "".join(layout(index, has_documents, texts))


def linked_crates(metadata):
    """The packages whose code comes into a program, sorted, without the workspace's own."""
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    own = set(metadata["workspace_members"])
    waiting = [name for name in own if packages[name]["name"] in PROGRAMS]
    if len(waiting) != len(PROGRAMS):
        raise Refusal(f"the workspace must have the packages {', '.join(PROGRAMS)}")
    linked = set()
    while waiting:
        name = waiting.pop()
        # The compiler runs these, and what they need.
        if name in linked or any("proc-macro" in target["kind"] for target in packages[name]["targets"]):
            continue
        linked.add(name)
        for dependency in nodes[name]["deps"]:
            if any(kind["kind"] is None for kind in dependency["dep_kinds"]):
                waiting.append(dependency["pkg"])
    return sorted((packages[name] for name in linked - own), key=lambda crate: (crate["name"], crate["version"], crate["id"]))


def title(crate):
    return f"{crate['name']} {crate['version']}"


def licence_files(crate):
    """Names and contents of a crate's licences and notices, also those of code that it has from others, deeper down."""
    top = os.path.dirname(crate["manifest_path"])
    names = set()
    for directory, _, files in os.walk(top):
        for file in files:
            name = os.path.relpath(os.path.join(directory, file), top)
            above = name.split(os.sep)[:-1]
            fits = FILE_NAME.match(file) or any(DIRECTORY_NAME.fullmatch(part) for part in above)
            if fits and not SOURCE_CODE.fullmatch(file):
                names.add(name)
    if crate.get("license_file"):
        names.add(os.path.normpath(crate["license_file"]))
    return [(name, read(title(crate), os.path.join(top, name))) for name in sorted(names)]


def read(owner, path):
    try:
        with open(path, "rb") as file:
            return file.read().decode(errors="replace")
    except OSError as error:
        raise Refusal(f"{owner}: a licence file can't be read: {error}") from error


def describe(crate, has_files):
    place = crate.get("repository") or crate.get("homepage")
    lines = [title(crate), f"    {crate.get('license') or 'see its licence file'}"]
    if place:
        lines.append(f"    {place}")
    if not has_files:
        lines.append(f"    no licence file of its own; authors: {', '.join(crate.get('authors') or ['not named'])}")
    return "\n".join(lines)


def refuse(crates, has_documents, full):
    problems = []
    for crate in crates:
        problem = refused(crate.get("license"), full)
        if problem:
            problems.append(f"{title(crate)} {problem}")
    problem = None if has_documents else refused("MIT OR Apache-2.0", full)
    if problem:
        problems.append(f"{STANDARD_LIBRARY} {problem}")
    if problems:
        raise Refusal("\n".join(problems))


def refused(expression, full):
    if not expression:
        return "says no licence as an SPDX expression"
    try:
        choices = alternatives(expression)
    except (IndexError, ValueError):
        return f"has a licence expression that can't be read: {expression}"
    allowed = [choice for choice in choices if choice <= LICENCES.keys()]
    if not allowed:
        return f"is under {expression}, which is not allowed; allowed are {', '.join(LICENCES)}"
    if not any(choice <= full for choice in allowed):
        return f"is under {expression}, and no file of it or another crate has the text of that"
    return None


def alternatives(expression):
    """What an SPDX expression lets one choose from: sets of licences that hold together."""
    # A slash is what Cargo took for OR before it knew SPDX.
    words = re.findall(r"[()]|[^\s()]+", expression.replace("/", " OR ")) + [None]

    def any_of():
        found = all_of()
        while words[0] == "OR":
            words.pop(0)
            found = found + all_of()
        return found

    def all_of():
        found = one()
        while words[0] == "AND":
            words.pop(0)
            found = [left | right for right in one() for left in found]
        return found

    def one():
        word = words.pop(0)
        if word == "(":
            found = any_of()
            if words.pop(0) != ")":
                raise ValueError(expression)
            return found
        if word in (None, ")", "AND", "OR", "WITH"):
            raise ValueError(expression)
        if words[0] == "WITH":
            words.pop(0)
            word = f"{word} WITH {words.pop(0)}"
        return [frozenset([word])]

    found = any_of()
    if words != [None]:
        raise ValueError(expression)
    return found


class Copyright(html.parser.HTMLParser):
    """COPYRIGHT-library.html of a Rust toolchain: the words, and the licences of the crates that it names."""

    def __init__(self):
        super().__init__()
        self.lines = [""]
        self.licences = []
        self.crate = ""
        self.inside = set()

    def handle_starttag(self, tag, attributes):
        self.inside.add(tag)
        if tag == "pre":
            self.licences.append([self.crate, self.words().splitlines()[-1], ""])
        if tag in ("p", "li", "div", "h1", "h2", "h3", "summary"):
            self.lines.append("")

    def handle_endtag(self, tag):
        self.inside.discard(tag)
        if tag == "h3":
            self.crate = self.words().splitlines()[-1]
        if tag in ("p", "li", "div", "h1", "h2", "h3"):
            self.lines.append("")

    def handle_data(self, data):
        if "pre" in self.inside:
            self.licences[-1][2] += data
        elif not self.inside & {"title", "style"}:
            self.lines[-1] += data.replace("\N{PACKAGE}", "")

    def words(self):
        lines = (" ".join(line.split()) for line in self.lines)
        return "\n".join(line for line in lines if line)


def add_standard_library(texts, sysroot):
    """What the toolchain has of it. False if it has nothing."""
    directory = os.path.join(sysroot, "share/doc/rust")
    path = os.path.join(directory, "COPYRIGHT-library.html")
    if not os.path.isfile(path):
        return False
    document = Copyright()
    document.feed(read(STANDARD_LIBRARY, path))
    document.close()
    words = document.words()
    texts.add(STANDARD_LIBRARY, words)
    # Of its own code, and of some crates, the document only names them.
    for name in sorted(set(re.findall(r"[\w.-]+", " ".join(re.findall(r"^License:(.*)", words, re.MULTILINE))))):
        licence = os.path.join(directory, "licenses", f"{name}.txt")
        if os.path.isfile(licence):
            texts.add(f"{STANDARD_LIBRARY} ({name})", read(STANDARD_LIBRARY, licence))
    for crate, name, text in document.licences:
        texts.add(f"{STANDARD_LIBRARY} ({crate}, {name})", text)
    return True


def layout(index, has_documents, texts):
    yield paragraph("What TaskMessenger's programs are linked with, and its licences") + "\n"
    yield paragraph("The programs have code of others in them: of the crates that are listed here with their versions, licences "
                    "and origins, or of some of them, and of the Rust standard library. The licences and copyright notices "
                    "follow, each text once, below the names of all that it is of. TaskMessenger itself is under the MIT "
                    "licence.")
    for entry in index:
        yield f"\n{entry}\n"
    yield "\n" + paragraph("The Rust standard library")
    if has_documents:
        yield paragraph("MIT OR Apache-2.0; parts of it have the licences that it names below, in its list of what it has for "
                        "all systems, not only for this one", "    ")
    else:
        yield paragraph("MIT OR Apache-2.0; copyright: The Rust Project Developers, see https://thanks.rust-lang.org", "    ")
    yield "    https://github.com/rust-lang/rust\n"
    for holders, text in texts.sections():
        yield f"\n{'=' * 80}\n{paragraph(holders)}{'-' * 80}\n\n{text}\n"


def paragraph(text, indent=""):
    return textwrap.fill(text, 80, initial_indent=indent, subsequent_indent=indent, break_long_words=False,
                         break_on_hyphens=False) + "\n"


if __name__ == "__main__":
    main()
