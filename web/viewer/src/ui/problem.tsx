import type { Problem } from "../state/problems.ts";
import { openSource, retry, SAMPLE } from "../state/session.ts";
import { visible } from "../text/visible.ts";

interface Props {
  problem: Problem;
  /** Whether it was about opening a file. */
  retry?: boolean;
  /** Does once more what failed. */
  again?: () => void;
}

/** A failure: what was tried, what came back, what the reader can do. */
export function ProblemCard({ problem, again, ...options }: Props) {
  const rows: [string, string | undefined][] = [
    ["Tried", problem.tried],
    ["Came back", problem.message],
    ["Tensor", problem.tensor],
    ["Expected", problem.expected],
    ["Found", problem.found],
  ];
  return (
    <section
      class="problem"
      role="alert"
      data-testid="error"
      data-code={problem.code}
      data-kind={problem.kind}
    >
      <h2>
        <span aria-hidden="true">!</span> {problem.title}
      </h2>
      <dl>
        {rows.map(
          ([label, value]) =>
            value !== undefined && (
              <div key={label}>
                <dt>{label}</dt>
                <dd>{visible(value)}</dd>
              </div>
            ),
        )}
        <div>
          <dt>Code</dt>
          <dd>
            <code>{visible(problem.code)}</code>
          </dd>
        </div>
      </dl>
      <p data-testid="error-advice">{problem.advice}</p>
      {again && (
        <div class="actions">
          <button type="button" data-testid="again" onClick={again}>
            Try again
          </button>
        </div>
      )}
      {options.retry && (
        <div class="actions">
          <button type="button" onClick={retry}>
            Try again
          </button>
          <button type="button" onClick={() => openSource("main", SAMPLE)}>
            Show the sample
          </button>
        </div>
      )}
    </section>
  );
}
