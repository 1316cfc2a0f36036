# In the pupil's box: runs a notebook's cells, and answers what the tests ask of their names; see
# pupil.py. Nothing that this process says is believed, but as the value of what was asked.

local({
  told <- commandArgs(trailingOnly = TRUE)
  sys.source(file.path(told[[1]], "wire.R"), environment())
  seconds <- as.numeric(told[[2]])  # that a cell, or one answer, may take
  theirs <- globalenv()
  outputs <- list()
  classes <- character()  # of objects that the teacher's notebook makes

  keep <- function(...) outputs[[length(outputs) + 1L]] <<- list(...)
  keep_text <- function(name, text) {
    text <- paste(as_utf8(text), collapse = "")
    left <- KEPT - room
    if (left <= 0 || !nzchar(text)) return(invisible())
    room <<- room + nchar(text)
    if (nchar(text) > left) text <- paste0(substr(text, 1, left), "\n\u2026 and more than is kept\n")
    last <- length(outputs)
    if (last && identical(outputs[[last]][["name"]], name)) {
      outputs[[last]][["text"]] <<- paste0(outputs[[last]][["text"]], text)
    } else {
      keep(output_type = "stream", name = name, text = text)
    }
  }
  room <- 0  # characters that were kept of what a cell prints
  taken <- function() {
    found <- utils::head(outputs, 1000)
    outputs <<- list()
    room <<- 0
    found
  }

  # As R's kernel for Jupyter shows it.
  show_data <- function(object, kinds) {
    data <- list()
    for (kind in kinds) {
      shown <- tryCatch(repr::mime2repr[[kind]](object), error = function(e) {
        if (kind == "text/plain") handler$error(e)
      })
      if (is.raw(shown)) shown <- jsonlite::base64_enc(shown)
      if (!is.null(shown)) data[[kind]] <- paste(as_utf8(shown), collapse = "\n")
    }
    if (length(data)) keep(output_type = "display_data", data = data)
  }
  plot <- NULL
  show_plot <- function() {
    if (!is.null(plot)) show_data(plot, "image/png")
    plot <<- NULL
  }
  handler <- evaluate::new_output_handler(
    text = function(text) keep_text("stdout", text),
    message = function(m) keep_text("stderr", conditionMessage(m)),
    warning = function(w) {
      call <- conditionCall(w)
      of <- if (is.null(call)) "" else paste0(" in ", deparse(call)[[1]])
      keep_text("stderr", paste0("Warning message", of, ":\n", conditionMessage(w), "\n"))
    },
    error = function(e) {
      text <- as_utf8(substr(paste0(e, collapse = ""), 1, KEPT))
      keep(output_type = "error", ename = "ERROR", evalue = text, traceback = list(text))
      invisible()
    },
    graphics = function(drawn) {
      before <- plot[[1]]  # what is drawn into a picture belongs to it
      same <- seq_along(before)
      if (length(drawn[[1]]) < length(before) || !identical(drawn[[1]][same], before[same])) {
        show_plot()
      }
      plot <<- drawn
    },
    value = function(object, visible) {
      if (visible) show_data(object, c("text/plain", "text/html"))
    }
  )

  has_failed <- function() any(vapply(outputs, function(each) each$output_type == "error", NA))

  run <- function(text) {
    try(stop("none"), silent = TRUE)
    tryCatch(
      at_most(evaluate::evaluate(text, theirs, stop_on_error = 1L, output_handler = handler)),
      error = handler$error
    )
    # Where calls are nested too deep no handler could be called any more.
    if (!has_failed() && grepl("C stack usage|nested too deeply", said <- geterrmessage())) {
      handler$error(said)
    }
    show_plot()
    taken()
  }

  write_part <- function(name, hex) {
    dir.create(dirname(name), showWarnings = FALSE, recursive = TRUE)
    digits <- match(charToRaw(hex), charToRaw("0123456789abcdef")) - 1L
    odd <- seq(1, by = 2, length.out = length(digits) / 2)
    file <- file(name, "ab")
    on.exit(close(file))
    writeBin(as.raw(16L * digits[odd] + digits[odd + 1L]), file)
  }

  # A function of the test's that is handed to one of the notebook's.
  lent <- new.env()
  find <- function(node) {
    if (node[["kind"]] == "yours") return(object_of(node))
    scope <- new.env(parent = lent)
    scope$number <- node[["number"]]
    if (node[["type"]] %in% c("closure", "builtin", "special")) {
      eval(quote(function(...) ask(number, list(...))), scope)
    } else if (length(node[["text"]])) {  # a formula, an expression
      code <- parse(text = node[["text"]], keep.source = FALSE)[[1]]
      if ("formula" %in% node[["class"]]) eval(code, theirs) else code
    } else {
      stop("a test cannot hand over an object of ", node[["class"]][[1]], call. = FALSE)
    }
  }
  number_of <- function(x) {
    if (typeof(x) == "closure" && identical(parent.env(environment(x)), lent)) {
      environment(x)$number
    }
  }
  is_copied <- function(class) list(class) %in% PLAIN || all(class %in% classes)
  out <- function(x) encode(x, number_of, is_copied)
  into <- function(node) decode(node, find, function(class) TRUE)
  lent$ask <- function(number, arguments) {
    send(list(ask = "call", with = list(list(kind = "yours", number = number), out(arguments))))
    repeat {
      message <- receive()
      if (is.null(message[["ask"]])) break
      answer(message)
    }
    if (length(message[["raise"]])) stop(message[["raise"]][["message"]], call. = FALSE)
    into(message[["value"]])
  }

  verbs <- list(
    names = function(known) {
      classes <<- known
      ls(theirs, all.names = TRUE)
    },
    get = function(name) get(name, envir = theirs, inherits = FALSE),
    set = function(name, value) {
      assign(name, value, envir = theirs)
      NULL
    },
    call = function(f, arguments) do.call(f, arguments, quote = TRUE, envir = theirs),
    own = function(name, arguments) {
      # R's own function of a name, which may have a method for what is the notebook's.
      do.call(get(name, envir = as.environment(2L)), arguments, quote = TRUE, envir = theirs)
    },
    element = function(object, name) {
      eval(call("$", quote(object), as.name(name)), list(object = object), theirs)
    },
    slot = function(object, name) methods::slot(object, name),
    put = function(object, name, value) {
      object[[name]] <- value
      object
    },
    inherits = function(object, what) inherits(object, what)
  )

  answer <- function(message) {
    said <- list()
    note <- function(kind) function(condition) {
      text <- as_utf8(substr(conditionMessage(condition), 1, KEPT))
      if (length(said) < 100) said[[length(said) + 1L]] <<- list(kind, text)
      tryInvokeRestart(paste0("muffle", kind))
    }
    begun <- proc.time()[["elapsed"]]
    told <- list()
    text <- capture(told <- tryCatch(
      {
        found <- at_most(withCallingHandlers(
          withVisible(do.call(verbs[[message[["ask"]]]], lapply(message[["with"]], into), TRUE)),
          warning = note("Warning"), message = note("Message")
        ))
        list(value = out(found$value), visible = found$visible)
      },
      error = function(e) {
        late <- proc.time()[["elapsed"]] - begun >= seconds
        text <- as_utf8(substr(conditionMessage(e), 1, KEPT))
        list(raise = list(message = text, class = as.list(as_utf8(class(e))), late = late))
      }
    ))
    if (isTRUE(message[["capture"]])) told$printed <- text else keep_text("stdout", text)
    told$said <- said
    tryCatch(send(told), error = function(e) {
      send(list(raise = list(message = conditionMessage(e), class = list("error"))))
    })
  }

  repeat {
    message <- receive()
    if (length(message[["ask"]])) answer(message)
    else if (length(message[["file"]])) write_part(message[["file"]], message[["part"]])
    else if (length(message[["files"]])) send(list(done = list()))  # all are there
    else if (length(message[["printed"]])) send(list(done = taken()))
    else send(list(done = run(message[["run"]])))
  }
}, new.env(parent = baseenv()))
