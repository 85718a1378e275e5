"""One command a method."""

from typing import TYPE_CHECKING, Annotated

import typer

from patchwright.cli.answered import answered, written
from patchwright.cli.options import (
    NO_METRIC,
    Align,
    Answer,
    Bos,
    Chat,
    Clean,
    Corrupt,
    Csv,
    Device,
    DeviceMap,
    Direction,
    Dtype,
    ExampleName,
    Heads,
    IntervalPlot,
    Intervals,
    Json,
    Layers,
    Metric,
    ModelName,
    PairsFile,
    Per,
    Plot,
    Positions,
    Revision,
    Roles,
    Seed,
    System,
    Wrong,
    bos_or_usual,
    check_outputs,
    choose,
    chosen_pair,
    hand_out,
    load,
    numbers,
    progress_bar,
    said_by_user,
)
from patchwright.errors import InputError

if TYPE_CHECKING:
    from patchwright.model.load import Model


def patch(
    clean: Clean = "",
    corrupt: Corrupt = "",
    answer: Answer = [],  # noqa: B006 - Typer copies it
    wrong: Wrong = [],  # noqa: B006
    example: ExampleName = "",
    pairs: PairsFile = "",
    align: Align = "exact",
    site: Annotated[str, typer.Option(help="What is patched; see `places`.")] = "resid_pre",
    per: Per = "",
    place: Annotated[
        list[str], typer.Option(help="Patch these places together instead of a sweep. Repeatable.")
    ] = [],  # noqa: B006
    direction: Direction = "denoise",
    metric: Metric = "",
    layers: Layers = "",
    positions: Positions = "",
    roles: Roles = "",
    heads: Heads = "",
    chat: Chat = False,
    system: System = "",
    bos: Bos = None,
    model: ModelName = "demo",
    device: Device = "auto",
    device_map: DeviceMap = "",
    dtype: Dtype = "float32",
    revision: Revision = None,
    json: Json = "",
    csv: Csv = "",
    plot: Plot = "",
    intervals: Intervals = False,
    interval_plot: IntervalPlot = "",
    most: Annotated[
        int,
        typer.Option(
            help="Compute only so many cells, those of most promise by a gradient estimate.",
            min=0,
            show_default="all",
        ),
    ] = 0,
) -> None:
    """Patch place by place and see how far the answer moves.

    Without --json, --csv or --plot the result is shown in the terminal.
    """
    from patchwright import experiment

    check_outputs(json, csv, plot, interval_plot)
    chosen = choose(
        (clean, corrupt, answer, wrong),
        *(example, align, pairs, metric, bos),
        (model, device, dtype, revision, device_map),
        chat=(chat, system),
    )
    if place and roles:
        raise InputError("--place names its own positions: leave out --roles.")
    if place:
        result = experiment.patch_together(
            chosen.model, chosen.pair, place, direction, chosen.metric, bos=chosen.bos
        )
    else:
        with progress_bar() as progress:
            result = experiment.patch(
                chosen.model,
                chosen.pair,
                site,
                per or None,
                direction,
                chosen.metric,
                bos=chosen.bos,
                layers=numbers(layers, "--layers"),
                positions=numbers(positions, "--positions"),
                heads=numbers(heads, "--heads"),
                progress=progress,
                order="attribution" if most else "layers",
                most=most or None,
                roles=[name.strip() for name in roles.split(",")] if roles else None,
            )
    hand_out(result, json, csv, plot, intervals=intervals, interval_plot=interval_plot)


def trace(
    prompt: Annotated[str, typer.Option(help="The prompt that is answered rightly.")] = "",
    example: Annotated[
        str,
        typer.Option(
            help="Take the clean prompt and its answers from this example; the subject is where "
            "its prompts differ."
        ),
    ] = "",
    subject: Annotated[str, typer.Option(help="The words of the prompt that get noise.")] = "",
    subject_positions: Annotated[
        str, typer.Option(help="Or their positions, such as 2-4.", show_default=False)
    ] = "",
    occurrence: Annotated[int, typer.Option(help="Which one, if the words come often.")] = 1,
    answer: Answer = [],  # noqa: B006 - Typer copies it
    wrong: Wrong = [],  # noqa: B006
    site: Annotated[
        str, typer.Option(help="What is restored: resid_post, mlp_out or attn_out.")
    ] = "resid_post",
    noise: Annotated[
        float, typer.Option(help="In standard deviations of the subject's embeddings.")
    ] = 3.0,
    samples: Annotated[int, typer.Option(help="Draws of the noise.")] = 10,
    window: Annotated[int, typer.Option(help="Layers restored around each layer.")] = 1,
    sever: Annotated[
        str, typer.Option(help="Freeze mlp (mlp_out) or attn_out at the noisy run's values.")
    ] = "",
    seed: Seed = 0,
    metric: Annotated[str, typer.Option(help="As for patch.")] = "probability",
    chat: Chat = False,
    system: System = "",
    bos: Bos = None,
    model: ModelName = "demo",
    device: Device = "auto",
    device_map: DeviceMap = "",
    dtype: Dtype = "float32",
    revision: Revision = None,
    json: Json = "",
    csv: Csv = "",
    plot: Plot = "",
) -> None:
    """Causal tracing: noise on a subject, then clean places restored."""
    from patchwright import experiment
    from patchwright.algorithms.metrics import METRIC_TABLE, check_metric

    check_outputs(json, csv, plot)
    if not noise:
        raise InputError("--noise 0 changes nothing: give a multiple such as 3.")
    if subject and subject_positions:
        raise InputError("Name the subject by either --subject or --subject-positions, not both.")
    if not (example or subject or subject_positions):
        raise InputError("Name the subject: --subject, --subject-positions or --example.")
    if example and (chat or system):
        raise InputError(
            "--chat and --system go with a --prompt that is typed, not with --example."
        )
    if example:
        pair, _ = chosen_pair(prompt, "", answer, wrong, "exact", example)
        prompt, answer = str(pair.clean), [str(one) for one in pair.answers]
        compared = METRIC_TABLE[check_metric(metric)].needs_wrong
        wrong = [str(one) for one in pair.wrongs] if compared else []
    loaded = load(model, device, dtype, revision, device_map)
    bos = bos_or_usual(bos, example, model)
    positions = numbers(subject_positions, "--subject-positions") or []
    if example and not subject and not positions:
        positions = _subject_of(example, loaded, bos)
    with progress_bar() as progress:
        result = experiment.trace(
            loaded,
            said_by_user(prompt, chat, system),
            subject or positions,
            answer,
            wrong,
            noise,
            samples,
            window,
            site,
            metric,
            seed,
            sever or None,
            occurrence,
            bos,
            progress,
        )
    hand_out(result, json, csv, plot)


def _subject_of(name: str, model: "Model", bos: bool) -> list[int]:
    """Where an example's two prompts differ: what they are about."""
    from patchwright.prompts.align import differing
    from patchwright.prompts.examples import example
    from patchwright.prompts.tokens import encode_prompt

    pair = example(name).pair
    clean, corrupt = (
        encode_prompt(str(text), model.tokenizer, bos) for text in (pair.clean, pair.corrupt)
    )
    return list(differing(clean, corrupt))


def ablate(
    clean: Clean = "",
    corrupt: Corrupt = "",
    answer: Answer = [],  # noqa: B006
    wrong: Wrong = [],  # noqa: B006
    example: ExampleName = "",
    align: Align = "exact",
    pairs: PairsFile = "",
    site: Annotated[str, typer.Option(help="What is ablated; see `places`.")] = "z",
    per: Per = "",
    place: Annotated[
        list[str], typer.Option(help="Ablate these places together instead of a sweep. Repeatable.")
    ] = [],  # noqa: B006
    how: Annotated[str, typer.Option(help="zero, mean or resample.")] = "zero",
    prompt: Annotated[
        list[str], typer.Option(help="A prompt that mean and resample take from. Repeatable.")
    ] = [],  # noqa: B006
    over_positions: Annotated[
        bool, typer.Option("--over-positions", help="One mean over all positions.")
    ] = False,
    seed: Seed = 0,
    metric: Metric = "",
    layers: Layers = "",
    positions: Positions = "",
    heads: Heads = "",
    chat: Chat = False,
    system: System = "",
    bos: Bos = None,
    model: ModelName = "demo",
    device: Device = "auto",
    device_map: DeviceMap = "",
    dtype: Dtype = "float32",
    revision: Revision = None,
    json: Json = "",
    csv: Csv = "",
    plot: Plot = "",
    intervals: Intervals = False,
    interval_plot: IntervalPlot = "",
) -> None:
    """Take places out of the clean run and see what is lost."""
    from patchwright import experiment

    check_outputs(json, csv, plot, interval_plot)
    chosen = choose(
        (clean, corrupt, answer, wrong),
        *(example, align, pairs, metric, bos),
        (model, device, dtype, revision, device_map),
        chat=(chat, system),
    )
    references = [said_by_user(one, chat, system) for one in prompt]
    by = (how, references, not over_positions, seed, chosen.metric, chosen.bos)
    if place:
        result = experiment.ablate_together(chosen.model, chosen.pair, place, *by)
    else:
        with progress_bar() as progress:
            result = experiment.ablate(
                *(chosen.model, chosen.pair, site, per or None, *by),
                numbers(layers, "--layers"),
                numbers(positions, "--positions"),
                numbers(heads, "--heads"),
                progress,
            )
    hand_out(result, json, csv, plot, intervals=intervals, interval_plot=interval_plot)


def diff(
    clean: Clean = "",
    corrupt: Corrupt = "",
    answer: Answer = [],  # noqa: B006
    wrong: Wrong = [],  # noqa: B006
    example: ExampleName = "",
    pairs: PairsFile = "",
    align: Align = "exact",
    site: Annotated[str, typer.Option(help="What is compared; see `places`.")] = "resid_post",
    per: Per = "",
    chat: Chat = False,
    system: System = "",
    bos: Bos = None,
    model: ModelName = "demo",
    device: Device = "auto",
    device_map: DeviceMap = "",
    dtype: Dtype = "float32",
    revision: Revision = None,
    json: Json = "",
    csv: Csv = "",
    plot: Plot = "",
) -> None:
    """Compare clean and corrupted activations: norms and angles."""
    from patchwright import experiment

    check_outputs(json, csv, plot)
    chosen = choose(
        (clean, corrupt, answer, wrong),
        *(example, align, pairs, NO_METRIC, bos),
        (model, device, dtype, revision, device_map),
        chat=(chat, system),
    )
    result = experiment.difference(chosen.model, chosen.pair, site, per or None, chosen.bos)
    hand_out(result, json, csv, plot)


def attention(
    clean: Clean = "",
    corrupt: Corrupt = "",
    answer: Answer = [],  # noqa: B006
    wrong: Wrong = [],  # noqa: B006
    example: ExampleName = "",
    align: Align = "exact",
    pairs: PairsFile = "",
    head: Annotated[
        str, typer.Option(help="One head, such as L3H1; without it, scores of all heads.")
    ] = "",
    length: Annotated[int, typer.Option(help="Random tokens, said twice, for scores.")] = 20,
    words: Annotated[
        str,
        typer.Option(
            help="Draw them from the tokens of this text, such as ' Mary John store'.",
            show_default="all tokens",
        ),
    ] = "",
    seed: Seed = 0,
    chat: Chat = False,
    system: System = "",
    bos: Bos = None,
    model: ModelName = "demo",
    device: Device = "auto",
    device_map: DeviceMap = "",
    dtype: Dtype = "float32",
    revision: Revision = None,
    json: Json = "",
    csv: Csv = "",
    plot: Plot = "",
) -> None:
    """Show what a head attends to, or score all heads."""
    from patchwright import experiment
    from patchwright.places import parse_place

    check_outputs(json, csv, plot)
    place = parse_place(f"{head}.pattern") if head else None
    chosen = choose(
        (clean, corrupt, answer, wrong),
        *(example, align, pairs, NO_METRIC, bos),
        (model, device, dtype, revision, device_map),
        chat=(chat, system),
    )
    if place is None:
        result = experiment.head_scores(
            chosen.model, chosen.pair, length, seed=seed, bos=chosen.bos, words=words
        )
    elif place.layer is None or place.head is None:
        raise InputError(f"--head '{head}': name one head, such as L3H1.")
    else:
        result = experiment.attention(
            chosen.model, chosen.pair, place.layer, place.head, chosen.bos
        )
    hand_out(result, json, csv, plot)


def lens(
    clean: Clean = "",
    corrupt: Corrupt = "",
    answer: Answer = [],  # noqa: B006
    wrong: Wrong = [],  # noqa: B006
    example: ExampleName = "",
    pairs: PairsFile = "",
    align: Align = "exact",
    place: Annotated[
        list[str], typer.Option(help="Read a run with these places patched too. Repeatable.")
    ] = [],  # noqa: B006
    direction: Direction = "denoise",
    direct: Annotated[
        str,
        typer.Option(
            help="Attribute the logit difference to each layer, head, position or neuron instead."
        ),
    ] = "",
    chat: Chat = False,
    system: System = "",
    bos: Bos = None,
    model: ModelName = "demo",
    device: Device = "auto",
    device_map: DeviceMap = "",
    dtype: Dtype = "float32",
    revision: Revision = None,
    json: Json = "",
    csv: Csv = "",
    plot: Plot = "",
    graph: Annotated[
        str, typer.Option(help="Draw the logit difference by layer to a .png, .svg or .pdf file.")
    ] = "",
) -> None:
    """Read the answer off every layer, or attribute it to the parts."""
    from patchwright import experiment

    check_outputs(json, csv, plot, graph)
    if direct and (place or graph):
        raise InputError("--direct reads the unpatched runs: leave out --place and --graph.")
    chosen = choose(
        (clean, corrupt, answer, wrong),
        *(example, align, pairs, NO_METRIC, bos),
        (model, device, dtype, revision, device_map),
        chat=(chat, system),
    )
    if direct:
        result = experiment.logit_attribution(chosen.model, chosen.pair, direct, chosen.bos)
    else:
        result = experiment.logit_lens(chosen.model, chosen.pair, place, direction, chosen.bos)
    hand_out(result, json, csv, plot, graph)


def attribute(
    clean: Clean = "",
    corrupt: Corrupt = "",
    answer: Answer = [],  # noqa: B006
    wrong: Wrong = [],  # noqa: B006
    example: ExampleName = "",
    pairs: PairsFile = "",
    align: Align = "exact",
    site: Annotated[str, typer.Option(help="What would be patched; see `places`.")] = "resid_pre",
    per: Per = "",
    direction: Direction = "denoise",
    method: Annotated[str, typer.Option(help="gradient, qk_fix or integrated.")] = "gradient",
    steps: Annotated[int, typer.Option(help="Runs that integrated averages over.")] = 10,
    exact: Annotated[
        bool, typer.Option("--exact", help="Do the exact sweep too, and compare.")
    ] = False,
    metric: Metric = "",
    layers: Layers = "",
    positions: Positions = "",
    heads: Heads = "",
    chat: Chat = False,
    system: System = "",
    bos: Bos = None,
    model: ModelName = "demo",
    device: Device = "auto",
    device_map: DeviceMap = "",
    dtype: Dtype = "float32",
    revision: Revision = None,
    json: Json = "",
    csv: Csv = "",
    plot: Plot = "",
    intervals: Intervals = False,
    interval_plot: IntervalPlot = "",
    scatter: Annotated[
        str, typer.Option(help="Draw estimate against exact to a file; needs --exact.")
    ] = "",
) -> None:
    """Estimate every patch at once from gradients."""
    from patchwright import experiment

    check_outputs(json, csv, plot, interval_plot, scatter)
    if scatter and not exact:
        raise InputError("--scatter draws estimates against exact values: add --exact.")
    chosen = choose(
        (clean, corrupt, answer, wrong),
        *(example, align, pairs, metric, bos),
        (model, device, dtype, revision, device_map),
        chat=(chat, system),
    )
    with progress_bar() as progress:
        result = experiment.attribute(
            chosen.model,
            chosen.pair,
            site,
            per or None,
            direction,
            method,
            steps,
            chosen.metric,
            chosen.bos,
            numbers(layers, "--layers"),
            numbers(positions, "--positions"),
            numbers(heads, "--heads"),
            exact,
            progress,
        )
    hand_out(
        result, json, csv, plot, scatter=scatter, intervals=intervals, interval_plot=interval_plot
    )


def paths(
    clean: Clean = "",
    corrupt: Corrupt = "",
    answer: Answer = [],  # noqa: B006
    wrong: Wrong = [],  # noqa: B006
    example: ExampleName = "",
    pairs: PairsFile = "",
    receiver: Annotated[
        list[str], typer.Option(help="logits, or a place such as L9H6.q. Repeatable.")
    ] = ["logits"],  # noqa: B006
    site: Annotated[str, typer.Option(help="What sends: z, attn_out, mlp_out or embed.")] = "z",
    per: Per = "",
    direction: Direction = "noise",
    mlps: Annotated[str, typer.Option(help="MLPs on the way: recompute or freeze.")] = "recompute",
    norms: Annotated[
        str, typer.Option(help="Norms on the way: recompute, or freeze their scale.")
    ] = "recompute",
    metric: Metric = "",
    layers: Layers = "",
    positions: Positions = "",
    heads: Heads = "",
    chat: Chat = False,
    system: System = "",
    bos: Bos = None,
    model: ModelName = "demo",
    device: Device = "auto",
    device_map: DeviceMap = "",
    dtype: Dtype = "float32",
    revision: Revision = None,
    json: Json = "",
    csv: Csv = "",
    plot: Plot = "",
    intervals: Intervals = False,
    interval_plot: IntervalPlot = "",
) -> None:
    """Path patching: what a place does by way of its receivers."""
    from patchwright import experiment

    check_outputs(json, csv, plot, interval_plot)
    chosen = choose(
        (clean, corrupt, answer, wrong),
        *(example, "exact", pairs, metric, bos),
        (model, device, dtype, revision, device_map),
        edges=False,
        chat=(chat, system),
    )
    with progress_bar() as progress:
        result = experiment.path_patch(
            chosen.model,
            chosen.pair,
            receiver,
            site,
            per or None,
            direction,
            mlps,
            norms,
            chosen.metric,
            chosen.bos,
            numbers(layers, "--layers"),
            numbers(positions, "--positions"),
            numbers(heads, "--heads"),
            progress,
        )
    hand_out(result, json, csv, plot, intervals=intervals, interval_plot=interval_plot)


def circuit(
    clean: Clean = "",
    corrupt: Corrupt = "",
    answer: Answer = [],  # noqa: B006
    wrong: Wrong = [],  # noqa: B006
    example: ExampleName = "",
    pairs: PairsFile = "",
    steps: Annotated[
        int, typer.Option(help="Integrate gradients over so many runs; 0: one gradient.", min=0)
    ] = 0,
    top: Annotated[int, typer.Option(help="Keep at most so many edges.", min=1)] = 200,
    threshold: Annotated[float, typer.Option(help="Keep edges of at least this |score|.")] = 0.0,
    connected: Annotated[
        bool, typer.Option("--connected", help="Choose edges by a walk down from the logits.")
    ] = False,
    sizes: Annotated[
        str, typer.Option(help="Numbers of edges, such as 10,50.", show_default="powers of 2")
    ] = "",
    outside: Annotated[str, typer.Option(help="Other edges carry: corrupt or mean.")] = "corrupt",
    n_random: Annotated[
        int, typer.Option("--n-random", "--randoms", help="Random circuits of each size.", min=0)
    ] = 3,
    seed: Seed = 0,
    circuit: Annotated[
        str, typer.Option(help="Evaluate the circuit in this file instead of finding one.")
    ] = "",
    save: Annotated[str, typer.Option(help="Write the circuit to this JSON file.")] = "",
    metric: Metric = "",
    chat: Chat = False,
    system: System = "",
    bos: Bos = None,
    model: ModelName = "demo",
    device: Device = "auto",
    device_map: DeviceMap = "",
    dtype: Dtype = "float32",
    revision: Revision = None,
    json: Json = "",
    csv: Csv = "",
    plot: Plot = "",
    graph: Annotated[str, typer.Option(help="Draw the edges to a .png, .svg or .pdf file.")] = "",
) -> None:
    """Find a circuit's edges and measure what they keep."""
    from patchwright import experiment
    from patchwright.figures.printed import save_circuit
    from patchwright.files import check_writable

    check_outputs(json, csv, plot, graph)
    if save:
        check_writable(save)
    chosen_sizes = numbers(sizes, "--sizes")
    given = choose(
        (clean, corrupt, answer, wrong),
        *(example, "exact", pairs, metric, bos),
        (model, device, dtype, revision, device_map),
        edges=False,
        chat=(chat, system),
    )
    with progress_bar() as progress:
        if circuit:
            chosen = experiment.load_circuit(circuit)
        else:
            scored = experiment.edge_attribution(
                given.model, given.pair, steps or None, given.metric, given.bos, progress=progress
            )
            chosen = experiment.Circuit.choose(scored, given.model, top, threshold, connected)
        result = experiment.evaluate_circuit(
            *(given.model, given.pair, chosen, chosen_sizes, outside, n_random, seed, given.metric),
            given.bos,
            progress,
        )
    if save:
        chosen.to_json(save)
    if graph:
        save_circuit(chosen.edges, chosen.scores, graph)
    hand_out(result, json, csv, plot)


COMMANDS = tuple(
    answered(written(command))
    for command in (patch, trace, ablate, attribute, paths, circuit, diff, attention, lens)
)
