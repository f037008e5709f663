/* SPDX-License-Identifier: BSD-3-Clause */
/* Lists as tables: columns of the view, sorted, cut to the terminal's width. */
#include "control/ctl/table.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "control/ctl/cell.h"
#include "control/ctl/view.h"

#define COLUMNS_MAX 48
#define NARROWEST 8 /* no column is cut further than to that */

struct table {
	struct view_column columns[COLUMNS_MAX];
	int widths[COLUMNS_MAX];
	bool is_number[COLUMNS_MAX];
	bool is_wide;
	int n;
};

/* Characters, not bytes. */
static int text_width(const char *text)
{
	int n = 0;

	for (; *text != '\0'; text++)
		n += ((unsigned char)*text & 0xc0) != 0x80;
	return n;
}

static void add_column(struct table *table, const struct view_column *column)
{
	for (int i = 0; i < table->n; i++)
		if (strcmp(table->columns[i].member, column->member) == 0)
			return;
	if (table->n < COLUMNS_MAX)
		table->columns[table->n++] = *column;
}

static void add_members(struct table *table, const cJSON *items)
{
	const cJSON *item, *value;

	cJSON_ArrayForEach(item, items) {
		cJSON_ArrayForEach(value, item) {
			const struct view_column column = { .member = value->string };

			if (value->string != NULL)
				add_column(table, &column);
		}
	}
}

static void header_text(const struct view_column *column, char *buf, size_t size)
{
	snprintf(buf, size, "%s", column->header != NULL ? column->header : column->member);
	for (char *c = buf; column->header == NULL && *c != '\0'; c++)
		*c = (char)toupper((unsigned char)*c);
}

static bool is_numeric(const char *text)
{
	return strspn(text, "0123456789.KMGTPE%") == strlen(text) && *text != '\0';
}

static void measure(struct table *table, const cJSON *items)
{
	const cJSON *item;
	char header[64];

	for (int i = 0; i < table->n; i++) {
		header_text(&table->columns[i], header, sizeof(header));
		table->widths[i] = text_width(header);
		table->is_number[i] = true;
	}
	cJSON_ArrayForEach(item, items) {
		for (int i = 0; i < table->n; i++) {
			char *text = view_cell(&table->columns[i], item, table->is_wide);

			if (text != NULL && text_width(text) > table->widths[i])
				table->widths[i] = text_width(text);
			if (text == NULL || (!is_numeric(text) && strcmp(text, "-") != 0))
				table->is_number[i] = false;
			free(text);
		}
	}
}

/* Columns that may be used; 0: no limit, as nobody looks. */
static int terminal_width(void)
{
	const char *columns = getenv("COLUMNS");
	struct winsize size;

	if (columns != NULL && atoi(columns) > 0)
		return atoi(columns);
	return isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col
										     : 0;
}

/* Takes from the widest text columns until the table fits. */
static void shrink(struct table *table, int limit)
{
	int total = 2 * (table->n - 1);

	for (int i = 0; i < table->n; i++)
		total += table->widths[i];
	while (limit > 0 && total > limit) {
		int widest = -1;

		for (int i = 0; i < table->n; i++)
			if (!table->is_number[i] && table->widths[i] > NARROWEST &&
				(widest < 0 || table->widths[i] > table->widths[widest]))
				widest = i;
		if (widest < 0)
			return;
		table->widths[widest]--;
		total--;
	}
}

/* The first `width` characters, the last of them "…" if there are more. */
static void print_cut(const char *text, int width)
{
	bool is_cut = text_width(text) > width;
	int n = 0;

	for (; *text != '\0' && n < (is_cut ? width - 1 : width); n++) {
		/* what a client called something does not steer the terminal */
		do {
			putchar((unsigned char)*text < 0x20 || *text == 0x7f ? '?' : *text);
			text++;
		} while (((unsigned char)*text & 0xc0) == 0x80);
	}
	if (is_cut)
		fputs("…", stdout);
}

static void print_cell(const struct table *table, int i, const char *text)
{
	int pad = table->widths[i] - text_width(text);
	bool is_last = i == table->n - 1;

	if (pad < 0)
		pad = 0;
	if (table->is_number[i])
		printf("%*s", pad, "");
	print_cut(text, table->widths[i]);
	if (!table->is_number[i] && !is_last)
		printf("%*s", pad, "");
	fputs(is_last ? "\n" : "  ", stdout);
}

/* --- sorting ------------------------------------------------------------------------------------------------------ */

static struct view_column sort_column;
static bool is_descending;

/* "12.3M" → 12300000; false: it is no amount. */
static bool parse_amount(const char *text, double *out)
{
	static const char units[] = "KMGTPE";
	const char *unit;
	char *end;

	if (text == NULL || *text < '0' || *text > '9')
		return false;
	*out = strtod(text, &end);
	if (*end == '\0')
		return true;
	unit = strchr(units, *end);
	for (; unit != NULL && unit >= units; unit--)
		*out *= 1000;
	return end[1] == '\0' && strchr(units, *end) != NULL;
}

static int compare(const void *a, const void *b)
{
	const cJSON *left = *(const cJSON *const *)a, *right = *(const cJSON *const *)b;
	const cJSON *x = cJSON_GetObjectItemCaseSensitive(left, sort_column.member),
		    *y = cJSON_GetObjectItemCaseSensitive(right, sort_column.member);
	int order;

	if (sort_column.make == NULL && cJSON_IsNumber(x) && cJSON_IsNumber(y)) {
		order = (x->valuedouble > y->valuedouble) - (x->valuedouble < y->valuedouble);
	} else {
		double n, m;
		char *p = view_cell(&sort_column, left, true),
		     *q = view_cell(&sort_column, right, true);

		if (parse_amount(p, &n) && parse_amount(q, &m))
			order = (n > m) - (n < m);
		else
			order = strverscmp(p != NULL ? p : "", q != NULL ? q : "");
		free(p);
		free(q);
	}
	return is_descending ? -order : order;
}

static bool find_column(const struct table *table, const char *name, struct view_column *out)
{
	char header[64];

	for (int i = 0; i < table->n; i++) {
		header_text(&table->columns[i], header, sizeof(header));
		if (strcmp(table->columns[i].member, name) == 0 || strcasecmp(header, name) == 0) {
			*out = table->columns[i];
			return true;
		}
	}
	return false;
}

static void table_init(
	struct table *table, const struct method *method, const cJSON *items, bool is_wide)
{
	const struct view_column *view = view_of(method->name);

	*table = (struct table){ .is_wide = is_wide };
	for (int i = 0; view != NULL && view[i].member != NULL; i++)
		add_column(table, &view[i]);
	if (view == NULL || is_wide)
		add_members(table, items);
}

int table_sort(const struct method *method, cJSON *items, const char *by)
{
	struct table table;
	size_t n = (size_t)cJSON_GetArraySize(items);
	cJSON **sorted;

	table_init(&table, method, items, true);
	is_descending = by[0] == '-';
	if (!find_column(&table, by + is_descending, &sort_column))
		return n > 0 ? -1 : 0;
	sorted = calloc(n + 1, sizeof(*sorted));
	for (size_t i = 0; sorted != NULL && i < n; i++)
		sorted[i] = cJSON_DetachItemFromArray(items, 0);
	if (sorted == NULL)
		return 0;
	qsort(sorted, n, sizeof(*sorted), compare);
	for (size_t i = 0; i < n; i++)
		cJSON_AddItemToArray(items, sorted[i]);
	free(sorted);
	return 0;
}

void table_print(const struct method *method, const cJSON *items, bool is_wide)
{
	struct table table;
	const cJSON *item;
	char header[64];

	table_init(&table, method, items, is_wide);
	if (table.n == 0)
		return;
	measure(&table, items);
	shrink(&table, is_wide ? 0 : terminal_width());
	for (int i = 0; i < table.n; i++) {
		header_text(&table.columns[i], header, sizeof(header));
		print_cell(&table, i, header);
	}
	cJSON_ArrayForEach(item, items) {
		for (int i = 0; i < table.n; i++) {
			char *text = view_cell(&table.columns[i], item, is_wide);

			print_cell(&table, i, text != NULL ? text : "");
			free(text);
		}
	}
}
