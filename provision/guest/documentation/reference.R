# R's own help as a book: Rscript - BOOK MANUALS, as root. R keeps it in a form that it shows by a server of
# its own; here each topic is a page. The same R gives the same bytes.
told <- commandArgs(trailingOnly = TRUE)
book <- told[[1]]
manuals <- told[[2]]
options(help.htmlmath = "", help.htmltoc = FALSE)
fresh <- file.path(dirname(book), paste0(".", basename(book), ".new"))
unlink(fresh, recursive = TRUE)
dir.create(fresh, recursive = TRUE)

packages <- sort(rownames(installed.packages(priority = "base")), method = "radix")
texts <- lapply(setNames(packages, packages), tools::Rd_db)
aliases <- do.call(c, lapply(packages, function(package) {
  unlist(lapply(sort(names(texts[[package]]), method = "radix"), function(file) {
    rd <- texts[[package]][[file]]
    found <- vapply(Filter(function(part) attr(part, "Rd_tag") == "\\alias", rd),
                    function(part) trimws(paste(unlist(part), collapse = "")), "")
    setNames(rep(sprintf("%s/html/%s.html", package, sub("[.][Rr]d$", "", basename(file))), length(found)), found)
  }))
}))
links <- setNames(paste0("../../", aliases), names(aliases))
links <- links[!duplicated(names(links))]
safe <- function(text) gsub(">", "&gt;", gsub("<", "&lt;", gsub("&", "&amp;", text, fixed = TRUE), fixed = TRUE), fixed = TRUE)
page <- function(title, body) c(
  "<!DOCTYPE html>", sprintf('<html lang="en"><head><meta charset="utf-8"><title>%s</title>', title),
  '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="stylesheet" href="R.css"></head>',
  sprintf("<body><main><h1>%s</h1>", title), body, "</main></body></html>")
write <- function(lines, ...) writeLines(enc2utf8(lines), file.path(fresh, ...), useBytes = TRUE)

write(c(":root { color-scheme: light dark; }",
        "body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem 1rem 4rem; }",
        "pre, code { font: 14px/1.4 ui-monospace, monospace; } pre { overflow-x: auto; }",
        "td { vertical-align: top; padding: .1rem .5rem .1rem 0; }"), "R.css")
body <- "<ul>"
for (package in packages) {
  dir.create(file.path(fresh, package, "html"), recursive = TRUE)
  rds <- texts[[package]]
  topics <- character()
  for (file in sort(names(rds), method = "radix")) {
    topic <- sub("[.][Rr]d$", "", basename(file))
    target <- file.path(fresh, package, "html", paste0(topic, ".html"))
    done <- try(tools::Rd2HTML(rds[[file]], target, package = package, Links = links, dynamic = FALSE,
                               stylesheet = "../../R.css", outputEncoding = "UTF-8"), silent = TRUE)
    if (inherits(done, "try-error")) next
    writeLines(sub("<html>", '<html lang="en">', readLines(target, encoding = "UTF-8"), fixed = TRUE), target, useBytes = TRUE)
    title <- Filter(function(part) attr(part, "Rd_tag") == "\\title", rds[[file]])
    title <- trimws(gsub("[[:space:]]+", " ", paste(unlist(title), collapse = "")))
    topics <- c(topics, sprintf('<li><a href="%s/html/%s.html">%s</a> %s</li>', package, topic, safe(topic), safe(title)))
  }
  body <- c(body, sprintf("<li><h2>%s</h2><ul>", package), topics, "</ul></li>")
  # What its pages lead to.
  write(c(sprintf('<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>%s</title>', package),
          '<meta http-equiv="refresh" content="0; url=../../index.html"></head><body></body></html>'),
        package, "html", "00Index.html")
}
manual <- function(name) if (file.exists(file.path(manuals, paste0(name, ".html"))))
  sprintf('<li><a href="manual/%s.html">%s</a></li>', name, name)
lists <- unlist(lapply(c("R-intro", "R-lang", "R-data", "R-FAQ", "R-exts", "R-admin", "R-ints"), manual))
write(page("R", c("<h2>Manuals</h2><ul>", lists, "</ul><h2>Help</h2>", body, "</ul>")), "index.html")
# Under another name the same files: a book's addresses lead nowhere else.
dir.create(file.path(fresh, "manual"))
of <- list.files(manuals, "[.]html$", full.names = TRUE)
into <- file.path(fresh, "manual", basename(of))
if (!all(file.link(of, into))) file.copy(of, into, overwrite = TRUE)
there <- file.exists(file.path(fresh, aliases))
lines <- sprintf("%s\t%s\t%s\t%d", names(aliases), dirname(dirname(aliases)), aliases,
                 ifelse(dirname(dirname(aliases)) %in% c("base", "stats", "graphics", "utils"), 0L, 1L))[there]
write(sort(unique(lines), method = "radix"), "names.tsv")
unlink(book, recursive = TRUE)
invisible(file.rename(fresh, book))
